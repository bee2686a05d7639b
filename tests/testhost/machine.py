"""A test host of one's own: running, with commands and files to and fro; gone at the end whatever happens."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from . import files, qemu, recipe
from .channel import Channel, Done, Listener
from .commands import Failed
from .image import Image, await_boot, held

COMMAND_S = 300.0
LOAD_S = 200.0
TREE = ("src", "tests", "tools", "bench", "packaging", "pyproject.toml", "requirements-dev.txt")
"""What tests need of the work tree. Compiled Python goes along: compiling takes long under emulation."""
UNPACK = """\
mkdir -p "$1" && cd "$1" &&
dd if=/dev/disk/by-id/virtio-parcel bs=1M count="$2" iflag=direct status=none | tar -x -f -
"""
"""Past the page cache, which doesn't know that the disk has changed."""
HOME = f"/{files.HOME}"


class Machine:
    """Made by :func:`a_machine`."""

    def __init__(self, image: Image, directory: Path, shape: str = recipe.USUAL) -> None:
        state = image.state if shape == recipe.USUAL else None
        backing = (image.root, "raw") if state is None else (image.booted, "qcow2")
        qemu.make_disks(directory, *backing)
        self._parcel = directory / "parcel"
        self._posting = threading.Lock()
        self._qemu = qemu.Qemu(image.directory, directory, state=state, shape=shape)
        self.channel = Channel(self._qemu.agent)
        try:
            if state is None:
                await_boot(self.channel)
            else:
                self._qemu.execute("cont")
                self.channel.set_clock(LOAD_S)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._qemu.process.pid

    def run(
        self,
        *words: str,
        stdin: bytes = b"",
        timeout_s: float = COMMAND_S,
        cwd: str = "/",
        environment: Mapping[str, str] | None = None,
        listener: Listener | None = None,
    ) -> Done:
        """A command as root, and what it did. Killed after ``timeout_s`` with all that it started."""
        try:
            return self.channel.run(
                words, stdin=stdin, timeout_s=timeout_s, cwd=cwd, environment=environment, listener=listener
            )
        except Failed as error:
            raise Failed(f"{error}, at `{' '.join(words)[:200]}`\n{self._qemu.last_words()}") from None

    def ok(self, *words: str, stdin: bytes = b"", timeout_s: float = COMMAND_S) -> str:
        """The standard output of a command that must succeed."""
        done = self.run(*words, stdin=stdin, timeout_s=timeout_s)
        if done.code != 0:
            raise Failed(f"in the test host, `{' '.join(words)}` ended with {done.code}: {done.said}")
        return done.text

    def put(self, sources: Mapping[str, Path], target: str) -> None:
        """Files and directories, each under the name that it shall have below ``target``."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, source in sources.items():
                archive.add(source, name, filter=_as_root)
        size_mib = (stream.tell() >> 20) + 1
        if size_mib > recipe.PARCEL_MIB:
            raise Failed(
                f"{size_mib} MiB are too much at once for the test host", hint="send less, or raise PARCEL_MIB"
            )
        with self._posting:
            with self._parcel.open("r+b") as parcel:
                parcel.write(stream.getvalue())
            self.ok("sh", "-c", UNPACK, "unpack", target, str(size_mib))

    def get(self, source: str, target: Path) -> None:
        """A file or directory, into the directory ``target``."""
        done = self.run("tar", "-c", "-f", "-", "-C", str(Path(source).parent), Path(source).name)
        if done.code != 0:
            raise Failed(f"{source} can't be had from the test host: {done.err.decode(errors='replace')}")
        with tarfile.open(fileobj=io.BytesIO(done.out)) as archive:
            archive.extractall(target)

    def put_work_tree(self) -> None:
        self.put({name: recipe.ROOT / name for name in TREE}, HOME)

    def close(self) -> None:
        self._qemu.kill()
        self.channel.close()


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if Path(member.name).name in (".pytest_cache", ".mypy_cache", ".hypothesis", "results"):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


@contextmanager
def a_machine(cache: Path, say: Callable[[str], None], shape: str = recipe.USUAL) -> Iterator[Machine]:
    """Its own disks and memory over the common snapshot: what is done in it, nobody else sees. ``shape`` is one of
    :data:`recipe.SHAPES`."""
    with held(cache, say) as image:
        directory = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=_running(cache)))
        try:
            machine = Machine(image, directory, shape)
            try:
                yield machine
            finally:
                machine.close()
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _running(cache: Path) -> Path:
    """Where running ones have their disks; what sessions left that were killed with no time to tidy, goes."""
    place = cache.with_name(f"{cache.name}-running")
    place.mkdir(exist_ok=True)
    for left in place.iterdir():
        if not Path(f"/proc/{left.name.partition('-')[0]}").exists():
            shutil.rmtree(left, ignore_errors=True)
    return place
