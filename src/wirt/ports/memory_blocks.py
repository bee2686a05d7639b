"""Disks in memory, for the fake adapters: they stand side by side on one set of contents."""

from __future__ import annotations

from collections.abc import Iterator

from wirt.model.errors import Unavailable
from wirt.ports.blocks import BLOCK, Extent


class MemoryDisk:
    """``content`` is all of it. ``checkpoints``: of each, the blocks that were written since, by number;
    ``written``: of the disk itself."""

    def __init__(self, size: int) -> None:
        self.content = bytearray(size)
        self.checkpoints: dict[str, set[int]] = {}
        self.written: set[int] = set()

    def write(self, offset: int, data: bytes) -> None:
        if offset + len(data) > len(self.content):
            raise Unavailable("beyond the end of a disk")
        self.content[offset : offset + len(data)] = data
        for changed in (self.written, *self.checkpoints.values()):
            changed.update(range(offset // BLOCK, -(-(offset + len(data)) // BLOCK)))


class MemoryBlocks:
    """A disk as it is now, or ``frozen`` as it was. ``changed``: the blocks that :meth:`extents` tells of."""

    def __init__(
        self, disk: MemoryDisk, *, frozen: bytes | None = None, changed: frozenset[int] | None = None
    ) -> None:
        self._disk = disk
        self._frozen = frozen
        self._changed = changed

    @property
    def size(self) -> int:
        return len(self._frozen if self._frozen is not None else self._disk.content)

    def extents(self) -> Iterator[Extent]:
        if self._changed is None:
            yield Extent(0, self.size)
            return
        for block in sorted(self._changed):
            yield Extent(block * BLOCK, min(BLOCK, self.size - block * BLOCK))

    def read(self, offset: int, length: int) -> bytes:
        return bytes((self._frozen if self._frozen is not None else self._disk.content)[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        if self._frozen is not None:
            raise Unavailable("a disk that was opened to be read")
        self._disk.write(offset, data)

    def flush(self) -> None:
        """Memory is all that there is."""

    def close(self) -> None:
        """Nothing is held."""


def forget_others(disk: MemoryDisk, checkpoint: str) -> None:
    """Those of the same place."""
    place = checkpoint.partition(".")[0]
    for other in [name for name in disk.checkpoints if name.partition(".")[0] == place and name != checkpoint]:
        del disk.checkpoints[other]
