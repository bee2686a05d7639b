"""What is done inside the jail: ``python -m wirt.images.bootstrap.worker``.

It reads ``/mnt/order.json`` (:class:`Order`) and prints one JSON object a line: ``{"what", "share"}`` for
progress, and at the end ``{"done": true}`` or ``{"error", "hint", "code"}``. No deadline is its own: the jail is
ended as a whole.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wirt.images.bootstrap.words import failure, stage
from wirt.model.errors import Unavailable, WirtError
from wirt.plan.bootstrap import SECTOR, BootstrapPlan
from wirt.plan.bootstrap_files import File
from wirt.plan.bootstrap_tools import ROOT, WORK

ORDER = "order.json"
DISK, KERNEL, INITRD = "disk.raw", "vmlinuz", "initrd"
_INSTALLED, _CONFIGURED = 0.8, 0.9
_LAST_LINES = 200
_MOUNTING = frozenset({"mmdebstrap"})
"""Installers that mount what is to be there by themselves."""
# Not mke2fs's own: GRUB 2.06 can't read what newer ones turn on (mke2fs.conf(5)).
_MKE2FS_CONF = """\
[defaults]
base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
default_mntopts = acl,user_xattr
blocksize = 4096
inode_size = 256
inode_ratio = 16384
[fs_types]
ext4 = {
features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
}
"""


@dataclass(frozen=True, slots=True)
class Order:
    """The part of a plan that is carried out inside; ``size`` and ``offset`` of the file system in bytes."""

    program: str
    where: str
    commands: list[list[str]]
    early: list[dict[str, Any]]
    late: list[dict[str, Any]]
    removed: list[str]
    inside: list[list[str]]
    kernel: str
    initrd: str
    label: str
    uuid: str
    size: int
    offset: int
    disk: int


def order(plan: BootstrapPlan, where: str) -> Order:
    root = plan.root_slice
    return Order(
        program=plan.program,
        where=where,
        commands=[list(command) for command in plan.commands],
        early=[asdict(file) for file in plan.early],
        late=[asdict(file) for file in plan.late],
        removed=list(plan.removed),
        inside=[list(command) for command in plan.inside],
        kernel=plan.kernel,
        initrd=plan.initrd,
        label=plan.wish.name[:16],
        uuid=str(plan.root_uuid),
        size=root.sectors * SECTOR,
        offset=root.first_lba * SECTOR,
        disk=plan.wish.size,
    )


def main() -> int:
    work = Path(WORK)
    try:
        _build(Order(**json.loads((work / ORDER).read_text())), work, Path(ROOT))
    except WirtError as error:
        _say(error=error.message, hint=error.hint, code=error.code)
        return 1
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        _say(error=f"the system can't be laid down: {error}", hint=None, code=Unavailable.code)
        return 1
    _say(done=True)
    return 0


def _build(what: Order, work: Path, root: Path) -> None:
    for directory in (root, work / "cache", work / "log"):
        directory.mkdir()
    for file in what.early:
        _write(root, File(**file))
    with _mounted(root, own=what.program not in _MOUNTING):
        _install(what, root)
    for source, name in ((what.kernel, KERNEL), (what.initrd, INITRD)):
        if not (root / source).is_file():
            raise Unavailable(f"there is no /{source} in the new system", hint="is --kernel the name of a kernel?")
        shutil.copyfile(root / source, work / name)
    _say(what="writing the file system", share=_CONFIGURED)
    _file_system(what, work)


@contextmanager
def _mounted(root: Path, *, own: bool) -> Iterator[None]:
    """What packages' scripts expect, where the installer does not see to it."""
    places = [root / "proc", root / "dev"] if own else []
    for place in places:
        place.mkdir(exist_ok=True)
    if own:
        subprocess.run(["mount", "-t", "proc", "proc", str(places[0])], check=True)
        subprocess.run(["mount", "--rbind", "/dev", str(places[1])], check=True)
    try:
        yield
    finally:
        for place in reversed(places):
            subprocess.run(["umount", "--recursive", "--lazy", str(place)], check=True)


def _install(what: Order, root: Path) -> None:
    for command in what.commands:
        _run(command, what)
    _say(what="setting it up", share=_INSTALLED)
    for pattern in what.removed:
        for path in glob.glob(pattern, root_dir=root):  # noqa: PTH207 (Path.glob follows links)
            (root / path).unlink()
    for file in what.late:
        _write(root, File(**file))
    for command in what.inside:
        _run(["chroot", ROOT, *command], what, heard=False)


def _write(root: Path, file: File) -> None:
    path = root / file.path
    path.parent.mkdir(mode=0o700 if path.parent.name == ".ssh" else 0o755, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if file.link:
        path.symlink_to(file.text)
    else:
        path.write_text(file.text)
        path.chmod(file.mode)


def _file_system(what: Order, work: Path) -> None:
    """mke2fs copies the tree by itself: nothing is mounted."""
    config = work / "mke2fs.conf"
    config.write_text(_MKE2FS_CONF)
    with (work / DISK).open("xb") as disk:
        disk.truncate(what.disk)
    os.environ["MKE2FS_CONFIG"] = str(config)
    options = f"offset={what.offset},lazy_itable_init=1,root_owner=0:0"
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-U", what.uuid, "-L", what.label, "-E", options]
    _run([*command, "-d", ROOT, str(work / DISK), f"{what.size // 1024}k"], what, heard=False)


def _run(command: Sequence[str], what: Order, *, heard: bool = True) -> None:
    last: deque[str] = deque(maxlen=_LAST_LINES)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        # Lines in universal newlines: progress bars that only return the carriage count too.
        for line in process.stdout:
            last.append(line.rstrip())
            found = stage(line) if heard else None
            if found is not None:
                _say(what=found.what, share=found.share * _INSTALLED)
            else:
                _say(alive=True)
    if process.returncode != 0:
        name = command[2] if command[0] == "chroot" else Path(command[0]).name
        raise failure(name, list(last), what.where)


def _say(**words: object) -> None:
    print(json.dumps(words), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
