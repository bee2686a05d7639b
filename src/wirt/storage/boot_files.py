"""Kernels, initial RAM disks and firmware in a directory of this host's state.

``DIGEST-LENGTH/NAME`` is the file, ``DIGEST-LENGTH/origin`` beside it says where it came from. A directory gets
its name once both are in it.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
from pathlib import Path, PurePosixPath

from wirt.model.errors import Shortage
from wirt.ports.boot_files import BootFile
from wirt.ports.layers import Content

_PART = ".part-"
_ORIGIN = "origin"
_KEPT = re.compile(r"[0-9a-f]{64}-[0-9]{1,12}")
_ODD = re.compile(r"[^A-Za-z0-9._+-]")
MOST_ORIGIN_BYTES = 4096


class HostBootFiles:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def place(self, content: Content, origin: str) -> str:
        return str(self._directory / f"{content.digest}-{content.length}" / _name(origin))

    async def find(self, content: Content) -> BootFile | None:
        return await asyncio.to_thread(_kept_in, Path(self.place(content, "/")).parent)

    async def stored(self) -> tuple[BootFile, ...]:
        return await asyncio.to_thread(self._stored)

    async def begin(self, content: Content, origin: str) -> str:
        return await asyncio.to_thread(self._begin, origin)

    async def keep(self, part: str, content: Content, origin: str) -> None:
        await asyncio.to_thread(self._keep, Path(part), Path(self.place(content, origin)), origin)

    async def remove(self, path: str) -> None:
        folder = Path(path).parent
        if folder.parent == self._directory:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def tidy(self) -> None:
        for folder in await asyncio.to_thread(self._listed):
            if folder.name.startswith(_PART):
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _listed(self) -> list[Path]:
        try:
            return list(self._directory.iterdir())
        except OSError:
            return []

    def _stored(self) -> tuple[BootFile, ...]:
        found = (_kept_in(folder) for folder in self._listed() if _KEPT.fullmatch(folder.name))
        return tuple(each for each in found if each is not None)

    def _begin(self, origin: str) -> str:
        folder = self._directory / f"{_PART}{secrets.token_hex(8)}"
        try:
            self._directory.mkdir(mode=0o711, parents=True, exist_ok=True)
            folder.mkdir(mode=0o711)
            (folder / _ORIGIN).write_text(origin)
            path = folder / _name(origin)
            path.touch(mode=0o600, exist_ok=False)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise Shortage(f"no kernel can be kept in {self._directory}: {error.strerror}") from error
        return str(path)

    def _keep(self, part: Path, place: Path, origin: str) -> None:
        try:
            part.chmod(0o444)
            part.parent.rename(place.parent)
            descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if _kept_in(place.parent) is not None:  # another has kept the same
                shutil.rmtree(part.parent, ignore_errors=True)
                return
            raise Shortage(f"{place} can't be kept: {error.strerror}") from error


def _kept_in(folder: Path) -> BootFile | None:
    try:
        with (folder / _ORIGIN).open("rb") as file:
            origin = file.read(MOST_ORIGIN_BYTES).decode()
    except (OSError, UnicodeError):
        return None
    path = folder / _name(origin)
    return BootFile(str(path), origin) if path.is_file() else None


def _name(origin: str) -> str:
    """In the file's own words, as far as that is harmless."""
    name = _ODD.sub("_", PurePosixPath(origin).name)[:100].lstrip(".")
    return f"{name}.boot" if name in ("", _ORIGIN) else name
