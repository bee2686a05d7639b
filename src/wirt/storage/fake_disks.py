"""The disk server port in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wirt.model.devices import DiskFormat
from wirt.model.errors import WirtError
from wirt.model.storage import Image, Volume
from wirt.ports.blocks import Blocks
from wirt.ports.memory_blocks import MemoryBlocks, MemoryDisk, forget_others

DISK_BYTES = 1024 * 1024


class FakeDiskServer:
    """``contents`` by path. ``failures`` are raised by the next calls that open a disk, one each."""

    def __init__(self, contents: dict[str, MemoryDisk]) -> None:
        self._contents = contents
        self.failures: list[WirtError] = []

    @asynccontextmanager
    async def serve(
        self, disk: Volume | Image, *, writable: bool = False, changes: str | None = None, top: bool = False
    ) -> AsyncIterator[Blocks]:
        if self.failures:
            raise self.failures.pop(0)
        found = self._disk(disk)
        told = frozenset(found.written) if top else None
        if changes is not None:
            told = frozenset(found.checkpoints[changes])
        yield MemoryBlocks(found, frozen=None if writable else bytes(found.content), changed=told)

    async def checkpoints(self, disk: Volume | Image) -> frozenset[str]:
        return frozenset(self._disk(disk).checkpoints) if _keeps(disk) else frozenset()

    async def mark(self, disk: Volume | Image, checkpoint: str) -> None:
        if _keeps(disk):
            found = self._disk(disk)
            found.checkpoints[checkpoint] = set()
            forget_others(found, checkpoint)

    def _disk(self, disk: Volume | Image) -> MemoryDisk:
        size = (disk.size if isinstance(disk, Volume) else 0) or DISK_BYTES
        return self._contents.setdefault(disk.path, MemoryDisk(size))


def _keeps(disk: Volume | Image) -> bool:
    return str(disk.format) == DiskFormat.QCOW2
