"""The boot files port in memory: a file is its path among ``files``."""

from __future__ import annotations

from itertools import count

from wirt.ports.boot_files import BootFile
from wirt.ports.layers import Content


class FakeBootFiles:
    """``files``: what each path holds; the same ones as of :class:`~wirt.storage.fake_layers.FakeLayerFiles`."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files
        self._kept: dict[str, BootFile] = {}
        self._numbers = count(1)

    def place(self, content: Content, origin: str) -> str:
        return f"/boot-files/{content.digest}/{origin.rpartition('/')[2]}"

    async def find(self, content: Content) -> BootFile | None:
        folder = self.place(content, "/")
        return next((each for each in self._kept.values() if each.path.startswith(folder)), None)

    async def stored(self) -> tuple[BootFile, ...]:
        return tuple(self._kept.values())

    async def begin(self, content: Content, origin: str) -> str:
        part = f"/boot-files/.part-{next(self._numbers)}"
        self._files[part] = b""
        return part

    async def keep(self, part: str, content: Content, origin: str) -> None:
        path = self.place(content, origin)
        self._files[path] = self._files.pop(part)
        self._kept[path] = BootFile(path, origin)

    async def remove(self, path: str) -> None:
        self._files.pop(path, None)
        self._kept.pop(path, None)

    async def tidy(self) -> None:
        for path in [path for path in self._files if path.startswith("/boot-files/.part-")]:
            del self._files[path]
