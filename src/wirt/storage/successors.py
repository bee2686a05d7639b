"""Files that take the places of others: how a pool of files keeps a volume as it was, and goes on in a new one.

What is staged has a hidden name until it settles. A file that somebody has open may be renamed meanwhile: he has
the file, not the name. Between two renames there may be no file of the volume's name for a moment; whoever was
interrupted there calls the same again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wirt.model.devices import DiskFormat
from wirt.model.errors import NameInUse, NotFound
from wirt.storage.programs import run

NEXT = ".next"
SUFFIXES = {DiskFormat.RAW: ".raw", DiskFormat.QCOW2: ".qcow2"}


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A volume's file. ``format`` is what its name says."""

    name: str
    path: Path
    format: DiskFormat


@dataclass(frozen=True, slots=True)
class Successors:
    """``call`` does every touch of the file system; ``files`` are those of the pool now; ``reasons`` turns the
    errors of the system into the pool's."""

    directory: Path
    pool: str
    call: Callable[..., Awaitable[Any]]
    files: Callable[[], Mapping[str, NamedFile]]
    reasons: Callable[[str], AbstractContextManager[None]]

    def path(self, name: str) -> Path:
        return self.directory / f".{name}{NEXT}"

    async def stage(self, name: str, kept: str, size: int) -> None:
        staged, below = self.path(name), await self.call(self._below, name, kept)
        await self.call(staged.unlink, missing_ok=True)
        options = f"backing_file={below.path.name.replace(',', ',,')},backing_fmt={below.format}"
        part = staged.with_name(f"{staged.name}.part-")
        # -u: the file below may have no such name yet, and what a guest may have written is not looked at.
        words = ("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-o", options, str(part), str(size))
        try:
            await run(*words, what=f"{self.pool}/{name} can't go on in a new image")
            await self.call(self._publish, part, staged)
        finally:
            await self.call(part.unlink, missing_ok=True)

    def settle(self, name: str, kept: str) -> None:
        staged, files = self.path(name), self.files()
        with self.reasons(f"{self.pool}/{name} can't go on in its new image"):
            if not staged.exists():
                return
            before = files.get(name)
            if before is not None and kept not in files:
                self._rename(before.path, self._named(kept, before.format))
            elif before is not None:
                before.path.unlink()
            self._rename(staged, self._named(name, DiskFormat.QCOW2))
            self.sync()

    def unstage(self, name: str) -> None:
        with self.reasons(f"the new image of {self.pool}/{name} can't be removed"):
            self.path(name).unlink(missing_ok=True)

    def replace(self, name: str, new: str) -> None:
        files = self.files()
        if new not in files and name in files:
            return
        if new not in files:
            raise NotFound(f"there is no volume {new} in {self.pool}", hint=f"wirt volume list {self.pool}")
        with self.reasons(f"{self.pool}/{new} can't take the place of {name}"):
            if name in files:
                files[name].path.unlink()
            self._rename(files[new].path, self._named(name, files[new].format))
            self.sync()

    def sync(self) -> None:
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _below(self, name: str, kept: str) -> NamedFile:
        """The file that a new one stands on, by the name that it will have."""
        files = self.files()
        if kept in files:
            return files[kept]
        if name not in files:
            raise NotFound(f"there is no volume {name} in {self.pool}", hint=f"wirt volume list {self.pool}")
        return NamedFile(kept, self._named(kept, files[name].format), files[name].format)

    def _named(self, name: str, format_: DiskFormat) -> Path:
        return self.directory / f"{name}{SUFFIXES[format_]}"

    def _rename(self, old: Path, new: Path) -> None:
        """``NameInUse`` if something is there already."""
        with contextlib.suppress(FileNotFoundError):
            new.lstat()
            raise NameInUse(f"there is a file {new} already", hint="move it away, and try again")
        old.rename(new)

    def _publish(self, part: Path, staged: Path) -> None:
        with self.reasons(f"{staged} can't be made"):
            part.chmod(0o600)
            descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            part.rename(staged)
