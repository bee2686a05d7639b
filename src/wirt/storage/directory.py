"""A pool of files in a directory.

A volume's name is its file's, without ``.raw`` or ``.qcow2``; other files that people put there (``.iso``,
``.img``) keep their whole names. The name says the format, the content never does: a guest writes a raw disk's
first bytes. New files are made under a hidden name and get their own at the end, so that a half made one is never
a volume.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import stat
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, NameInUse, NotFound, ResourceBusy, Shortage, Unavailable, WirtError
from wirt.model.storage import (
    Capability,
    FileSystem,
    PoolConfig,
    PoolUsage,
    Preallocation,
    Volume,
    check_volume_name,
)
from wirt.model.units import MIB
from wirt.plan import qcow2
from wirt.ports.storage import NewVolume
from wirt.storage import parts
from wirt.storage.media import PART as PART
from wirt.storage.media import file_system_at
from wirt.storage.programs import run
from wirt.storage.waiting import Patient

SECTOR = 512
_OWN_SUFFIXES = {".raw": DiskFormat.RAW, ".qcow2": DiskFormat.QCOW2}
_SUFFIXES = {format_: suffix for suffix, format_ in _OWN_SUFFIXES.items()}
_FICLONE = 0x40049409  # linux/fs.h
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    path: Path
    format: DiskFormat


class DirectoryPool:
    capabilities = frozenset(
        (
            Capability.CREATE,
            Capability.GROW,
            Capability.CLONE,
            Capability.LAYERS,
            Capability.THIN,
            Capability.PREALLOCATE,
        )
    )
    formats = (DiskFormat.QCOW2, DiskFormat.RAW)

    def __init__(
        self,
        config: PoolConfig,
        directory: Path,
        patient: Patient | None = None,
    ) -> None:
        """``patient`` is the one who waits for the file system, if it may be gone."""
        self.config = config
        self._patient = patient
        self._directory = directory
        self._file_system: FileSystem | None = None

    @property
    def directory(self) -> Path:
        return self._directory

    async def _call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Every touch of the file system."""
        call = self._patient or asyncio.to_thread
        return await call(function, *args, **kwargs)

    async def usage(self) -> PoolUsage:
        room = await self._call(self._room)
        volumes = await self.volumes()
        return PoolUsage(
            capacity=room.f_blocks * room.f_frsize,
            available=room.f_bavail * room.f_frsize,
            allocated=sum(volume.allocated for volume in volumes),
            promised=sum(max(volume.size, volume.allocated) for volume in volumes),
        )

    async def file_system(self) -> FileSystem | None:
        if self._file_system is None:
            with contextlib.suppress(OSError):
                self._file_system = await self._call(file_system_at, self._directory)
        return self._file_system

    async def volumes(self) -> tuple[Volume, ...]:
        """Files that are no image of the format that their name says are left out: ``find`` tells why."""
        return await self._call(self._volumes)

    async def find(self, name: str) -> Volume:
        return await self._call(lambda: self._volume(self._file(name)))

    async def create(self, wanted: NewVolume) -> Volume:
        check_volume_name(wanted.name)
        if wanted.format not in self.formats:
            able = " or ".join(self.formats)
            raise BadInput(f"{self.config.name} makes no {wanted.format} volumes", hint=f"--format {able}")
        if wanted.preallocation is Preallocation.FULL and Capability.PREALLOCATE not in self.capabilities:
            raise BadInput(
                f"{self.config.name} is a {self.config.type} pool, whose volumes take room when they are written",
                hint="leave --preallocation out",
            )
        async with self._new(wanted.name, wanted.format) as part:
            if wanted.format is DiskFormat.RAW:
                await self._call(self._write_raw, part, wanted)
            else:
                await self._write_qcow2(part, wanted)
        return await self.find(wanted.name)

    async def grow(self, name: str, size: int) -> Volume:
        """A qcow2 volume needs no room beforehand, and is made larger by who has it open."""
        file = await self._call(self._file, name)
        if file.format is DiskFormat.RAW:
            await self._call(self._lengthen, file, size)
        return await self.find(name)

    async def shrink(self, name: str, size: int) -> Volume:
        """A qcow2 image has been made smaller before, and its file is as long as it needs to be."""
        file = await self._call(self._file, name)
        if file.format is DiskFormat.RAW:
            await self._call(self._cut, file, size)
        return await self.find(name)

    async def clone(self, name: str, new: str) -> Volume:
        """On file systems that share blocks (reflink) a copy of its own, else a qcow2 image that stands on the
        first volume, which must then stay as it is."""
        check_volume_name(new)
        base = await self.find(name)
        file = await self._call(self._file, name)
        if base.format is DiskFormat.RAW:
            async with self._new(new, DiskFormat.RAW) as part:
                shared = await self._call(_reflink, file.path, part)
                if not shared:
                    await self._call(part.unlink)
            if shared:
                return await self.find(new)
        return await self._put_on(new, file.path.name, base)

    async def snapshot(self, name: str, kept: str) -> Volume:
        raise BadInput(f"{self.config.name} keeps what a volume is now only under a new image")

    async def layer(self, new: str, on: str, *, now: str | None = None) -> Volume:
        check_volume_name(new)
        known = await self._call(self._files)
        below = await self.find(on if on in known or now is None else now)
        file_name = known[on].path.name if on in known else f"{on}{_SUFFIXES[below.format]}"
        return await self._put_on(new, file_name, below)

    async def _put_on(self, new: str, file_name: str, below: Volume) -> Volume:
        async with self._new(new, DiskFormat.QCOW2) as part:
            options = f"backing_file={file_name.replace(',', ',,')},backing_fmt={below.format}"
            what = f"no image can be put on {below.reference}"
            # -u: what a guest may have written is not looked at; its size is known.
            words = ("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-o", options, str(part), str(below.size))
            await run(*words, what=what)
        return await self.find(new)

    async def rename(self, name: str, new: str) -> Volume:
        check_volume_name(new)
        await self._call(self._rename, name, new)
        return await self.find(new)

    async def remove(self, name: str) -> None:
        try:
            file = await self._call(self._file, name)
        except NotFound:
            return
        above = [volume.name for volume in await self.volumes() if volume.backing == name]
        if above:
            raise ResourceBusy(
                f"{self.config.name}/{name} is what {', '.join(above)} stand on",
                hint="remove those first, or make them independent: wirt volume copy",
            )
        with self._reasons(f"{self.config.name}/{name} can't be removed"):
            await self._call(file.path.unlink, missing_ok=True)

    async def activate(self, name: str) -> Volume:
        return await self.find(name)

    async def deactivate(self, name: str) -> None:
        """A file needs nothing."""

    async def tidy(self) -> tuple[str, ...]:
        return await self._call(self._tidy)

    def _tidy(self) -> tuple[str, ...]:
        with self._reasons(f"the pool {self.config.name} can't be tidied"):
            left = parts.sweep(self._listed())
        return tuple(f"{path} was left by something that did not finish, and is gone" for path in left)

    async def close(self) -> None:
        """Nothing is held."""

    def _room(self) -> os.statvfs_result:
        with self._reasons(f"the pool {self.config.name} can't be looked at"):
            return os.statvfs(self._directory)

    def _volumes(self) -> tuple[Volume, ...]:
        found = []
        for file in self._files().values():
            with contextlib.suppress(WirtError):
                found.append(self._volume(file))
        return tuple(sorted(found, key=lambda volume: volume.name))

    def _listed(self) -> list[Path]:
        with self._reasons(f"the pool {self.config.name} can't be looked at"):
            return [Path(entry) for entry in os.scandir(self._directory) if entry.is_file(follow_symlinks=False)]

    def _files(self) -> Mapping[str, _File]:
        paths = [path for path in self._listed() if not path.name.startswith(".")]
        stems = [path.stem for path in paths if path.suffix in _OWN_SUFFIXES]
        found = {}
        for path in paths:
            own = path.suffix in _OWN_SUFFIXES and stems.count(path.stem) == 1
            name = path.stem if own else path.name
            found[name] = _File(name, path, _OWN_SUFFIXES.get(path.suffix, DiskFormat.RAW))
        return found

    def _file(self, name: str) -> _File:
        try:
            return self._files()[name]
        except KeyError:
            raise NotFound(
                f"there is no volume {name} in {self.config.name}", hint=f"wirt volume list {self.config.name}"
            ) from None

    def _volume(self, file: _File) -> Volume:
        with self._reasons(f"{file.path} can't be read"), file.path.open("rb") as opened:
            facts = os.fstat(opened.fileno())
            header = opened.read(qcow2.HEADER_BYTES) if file.format is DiskFormat.QCOW2 else b""
        size, backing = facts.st_size, None
        if file.format is DiskFormat.QCOW2:
            said = qcow2.parse(header, str(file.path))
            size = said.size
            backing = self._name_of(said.backing[0]) if said.backing is not None else None
        allocated = facts.st_blocks * SECTOR
        return Volume(self.config.name, file.name, file.format, size, allocated, str(file.path), backing)

    def _name_of(self, named: str) -> str:
        """Of a file that an image names: the volume, if it is one of this pool."""
        path = self._directory / named
        if path.parent != self._directory:
            return named
        return next((file.name for file in self._files().values() if file.path == path), named)

    @asynccontextmanager
    async def _new(self, name: str, format_: DiskFormat) -> AsyncIterator[Path]:
        """A hidden file that becomes the volume ``name`` unless something fails: then it is gone."""
        part = self._directory / f".{name[:80]}{PART}{uuid.uuid4().hex}"
        what = f"{self.config.name}/{name} can't be made"
        work = parts.Work(part)
        try:
            await self._call(self._begin, name, work, what)
            yield part
            await self._call(self._publish, part, self._directory / f"{name}{_SUFFIXES[format_]}", what)
        finally:
            await self._call(work.end)

    def _begin(self, name: str, work: parts.Work, what: str) -> None:
        self._refuse_taken(name)
        with self._reasons(what):
            work.begin()

    def _refuse_taken(self, name: str) -> None:
        if name in self._files():
            raise NameInUse(f"there is a volume {self.config.name}/{name} already", hint="choose another name")

    def _publish(self, part: Path, path: Path, what: str) -> None:
        """A link, unlike a rename, never replaces what someone else has made meanwhile. A part that its maker took
        away is not to be published."""
        if not part.exists():
            return
        with self._reasons(what):
            descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.link(part, path)
            self._sync()

    def _sync(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _rename(self, name: str, new: str) -> None:
        """Who has the file open has the file, not its name."""
        files = self._files()
        if name not in files and new in files:
            return
        file = self._file(name)
        self._refuse_taken(new)
        with self._reasons(f"{self.config.name}/{name} can't be renamed"):
            file.path.rename(self._directory / f"{new}{_SUFFIXES[file.format]}")
            self._sync()

    def _write_raw(self, part: Path, wanted: NewVolume) -> None:
        with self._reasons(f"{self.config.name}/{wanted.name} can't be made", wanted.size):
            os.truncate(part, wanted.size)
            if wanted.preallocation is Preallocation.FULL and wanted.size:
                with part.open("r+b") as opened:
                    os.posix_fallocate(opened.fileno(), 0, wanted.size)

    async def _write_qcow2(self, part: Path, wanted: NewVolume) -> None:
        full = wanted.preallocation is Preallocation.FULL
        if full and wanted.size > (usage := await self.usage()).available:
            raise self._full(f"{self.config.name}/{wanted.name} can't be made", wanted.size, usage.available)
        options = f"preallocation={'falloc' if full else wanted.preallocation}"
        what = f"{self.config.name}/{wanted.name} can't be made"
        words = ("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, str(part), str(wanted.size))
        await run(*words, what=what)

    def _cut(self, file: _File, size: int) -> None:
        with self._reasons(f"{self.config.name}/{file.name} can't be made smaller"):
            os.truncate(file.path, size)

    def _lengthen(self, file: _File, size: int) -> None:
        with (
            self._reasons(f"{self.config.name}/{file.name} can't be made larger", size),
            file.path.open("r+b") as f,
        ):
            facts = os.fstat(f.fileno())
            if size <= facts.st_size:
                return
            whole = facts.st_size and facts.st_blocks * SECTOR >= facts.st_size
            if whole and Capability.PREALLOCATE in self.capabilities:  # it was laid out whole, and stays so
                os.posix_fallocate(f.fileno(), facts.st_size, size - facts.st_size)
            os.ftruncate(f.fileno(), size)

    @contextmanager
    def _reasons(self, what: str, wanted: int = 0) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                room = os.statvfs(self._directory)
                raise self._full(what, wanted, room.f_bavail * room.f_frsize) from error
            if error.errno == errno.EEXIST:
                raise NameInUse(f"{what}: there is a file of that name already") from error
            raise Unavailable(f"{what}: {error.strerror or error}") from error

    def _full(self, what: str, wanted: int, available: int) -> Shortage:
        return Shortage(
            f"{what}: it needs {wanted // MIB} MiB and {self.config.name} has {available // MIB} MiB left",
            hint="wirt pool list shows which has room; without --preallocation full it takes only what is written",
        )


def _reflink(source: Path, target: Path) -> bool:
    """Whether the file system shared the blocks of ``source`` with ``target`` (ioctl_ficlone(2))."""
    with source.open("rb") as old, target.open("r+b") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            return False
    return True


def is_plain_directory(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISDIR(path.stat().st_mode)
    return False
