"""The jail that qemu-img(1) runs in: the system's programs and libraries, the images of this run, and nothing
else. Sources: bwrap(1), prlimit(1)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wirt.model.errors import BadInput, NotFound, Unavailable, WirtError
from wirt.model.text import plain
from wirt.model.units import GIB, MIB
from wirt.ports.storage import Progress
from wirt.storage.programs import Failed, failed

MEMORY_BYTES = 2 * GIB
"""Of address space, most of which is never touched."""
SLACK_BYTES = 64 * MIB
_DRIVERS = {"vhd": "vpc"}
_PERCENT = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")
_LINKS = ("/lib", "/lib64", "/bin", "/sbin")


@dataclass(frozen=True, slots=True)
class Layer:
    """A file as the jail shows it. ``path`` is its place on the host."""

    path: str
    format: str
    device: bool
    inside: str


def jail(shown: list[Layer], written: list[Layer], file_bytes: int) -> Iterator[str]:
    yield from ("prlimit", f"--as={MEMORY_BYTES}", "--core=1", "--nofile=256")
    if written:
        yield f"--fsize={file_bytes + file_bytes // 256 + SLACK_BYTES}"
    yield from ("--", "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL")
    if os.geteuid() == 0:  # for images that belong to others; there are none in there but those of this run
        yield from ("--cap-add", "CAP_DAC_OVERRIDE")
    yield from system()
    for layer in shown:
        yield from ("--dev-bind" if layer.device else "--ro-bind", layer.path, layer.inside)
    for layer in written:
        yield from ("--dev-bind" if layer.device else "--bind", layer.path, layer.inside)
    yield from ("--remount-ro", "/", "--chdir", "/", "--clearenv", "--setenv", "LC_ALL", "C", "--")


def system() -> Iterator[str]:
    """bwrap's words for the programs and libraries of this host."""
    yield from ("--ro-bind", "/usr", "/usr")
    for link in _LINKS:
        if Path(link).is_symlink():
            yield from ("--symlink", str(Path(link).readlink()), link)
        elif Path(link).is_dir():
            yield from ("--ro-bind", link, link)
    yield from ("--dev-bind", "/dev/null", "/dev/null")


def program(name: str, what: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"{what}: there is no {name}", hint="make setup (Debian: apt-get install qemu-utils)")
    return os.path.realpath(found)


def find_layer(path: str, format_: str, inside: str) -> Layer:
    real = os.path.realpath(path)
    try:
        mode = os.stat(real).st_mode  # noqa: PTH116 (the errors are what is asked for)
    except OSError as error:
        raise NotFound(f"{path}: {(error.strerror or 'it is not there').lower()}") from error
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise BadInput(f"{path} is neither a file nor a disk")
    return Layer(real, format_, stat.S_ISBLK(mode), inside)


def driver(format_: str) -> str:
    return _DRIVERS.get(str(format_), str(format_))


def protocol(layer: Layer) -> str:
    return "host_device" if layer.device else "file"


def reason(what: str, error: Failed) -> WirtError:
    """qemu-img names the images as the jail does; nobody else knows them so."""
    said = (
        re.sub(r"'json:.*?}'", "the image", error.said)
        .replace("'/in/0'", "the image")
        .replace("/out", "the target")
    )
    if error.code in (128 + signal.SIGXFSZ, -signal.SIGXFSZ):
        return BadInput(f"{what}: it would become larger than what it says of itself allows")
    found = failed(what, plain("; ".join(line.strip() for line in said.splitlines() if line.strip())))
    if isinstance(found, Unavailable) and "Could not open the image" in said:
        return BadInput(found.message, hint="is it of another format, or damaged?")
    return found


def percent(progress: Progress | None) -> Callable[[bytes], None]:
    """Tells ``progress`` what qemu-img says of its own (``-p``)."""

    def look(part: bytes) -> None:
        found = _PERCENT.findall(part)
        if found and progress is not None:
            progress(float(found[-1]) / 100)

    return look
