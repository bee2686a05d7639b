"""Appliances in memory: for tests, and for hosts whose pools are there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from wirt.model.appliance import Appliance
from wirt.model.errors import IllegalState, NameInUse, NotFound, WirtError
from wirt.model.storage import ImageFormat, Volume
from wirt.ports.appliances import Found, Package, Packed
from wirt.ports.storage import Progress


@dataclass(slots=True)
class FakeAppliances:
    """``appliances`` by path. ``poured``: what was filled, by path, with the archive and the disk's place.
    ``failures`` are raised by the next calls that take long, one each."""

    appliances: dict[str, Appliance] = field(default_factory=dict)
    poured: dict[str, tuple[str, int]] = field(default_factory=dict)
    packed: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    scratches: set[str] = field(default_factory=set)
    failures: list[WirtError] = field(default_factory=list)

    async def look(self, path: str, format_: ImageFormat | None = None, machine: str = "") -> Found:
        if path not in self.appliances:
            raise NotFound(f"{path}: no such file or directory")
        return Found(self.appliances[path], Package(path, self._stamp(path), (), format_, machine))

    async def check(self, package: Package, progress: Progress) -> None:
        await self._work(package, progress)

    async def pour(
        self, package: Package, disk: int, format_: ImageFormat, target: Volume, progress: Progress
    ) -> None:
        await self._work(package, progress)
        self.poured[target.path] = (package.path, disk)

    async def measure(self, path: str) -> Packed:
        return Packed(path.rpartition("/")[2], path, 1, "0" * 64)

    async def room(self, path: str) -> int:
        return 1 << 60

    async def exists(self, path: str) -> bool:
        return path in self.packed or path in self.appliances

    async def make_scratch(self, path: str) -> None:
        self.scratches.add(path)

    async def discard(self, path: str) -> None:
        self.scratches.discard(path)
        self.packed.pop(path, None)

    async def pack(
        self, path: str, descriptor: tuple[str, str], files: Sequence[Packed], scratch: str, progress: Progress
    ) -> None:
        if path in self.packed:
            raise NameInUse(f"there is a file {path} already")
        await self._fail(progress)
        self.packed[path] = (descriptor[1], tuple(file.name for file in files))

    async def _work(self, package: Package, progress: Progress) -> None:
        if self._stamp(package.path) != package.stamp:
            raise IllegalState(f"{package.path} has changed since it was looked at", hint="try again")
        await self._fail(progress)

    async def _fail(self, progress: Progress) -> None:
        progress(0.5)
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        progress(1.0)

    def _stamp(self, path: str) -> str:
        return str(hash(self.appliances.get(path)))
