"""Bytes of an archive that belong together, wherever they lie: a part of a file, or the chunks of a Xen disk."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from wirt.config.xva import CHUNK_BYTES
from wirt.model.errors import BadInput
from wirt.storage.appliances.xxh64 import xxh64

SECTOR = 512
_EMPTY = bytes(CHUNK_BYTES)


class Readable(Protocol):
    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes; what is beyond the end reads as zeroes. ``BadInput`` if they are damaged."""
        ...

    def extent(self, offset: int, most: int) -> tuple[int, bool]:
        """How many bytes from ``offset``, 1 to ``most``, are alike in this: whether they are known to be zeroes,
        without a look at them. ``offset`` is within."""
        ...


class Whole(Protocol):
    """An archive; ``read`` as :meth:`Readable.read`."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...

    def part(self, offset: int, size: int) -> Readable: ...


@dataclass(frozen=True, slots=True)
class Slice:
    """``size`` bytes from ``offset`` of an open file."""

    fd: int
    offset: int
    size: int

    def part(self, offset: int, size: int) -> Slice:
        return Slice(self.fd, self.offset + offset, size)

    def read(self, offset: int, length: int) -> bytes:
        wanted = max(0, min(length, self.size - offset))
        found = os.pread(self.fd, wanted, self.offset + offset)
        while len(found) < wanted:  # it seldom comes in parts
            part = os.pread(self.fd, wanted - len(found), self.offset + offset + len(found))
            if not part:
                raise BadInput("the file has become shorter while it was read")
            found += part
        return found if len(found) == length else found.ljust(length, b"\0")

    def extent(self, offset: int, most: int) -> tuple[int, bool]:
        begin, end = self.offset + offset, self.offset + min(self.size, offset + most)
        try:
            data = min(end, os.lseek(self.fd, begin, os.SEEK_DATA))
        except OSError as error:
            if error.errno != errno.ENXIO:
                return end - begin, False
            data = end
        if data > begin:
            return data - begin, True
        return min(end, os.lseek(self.fd, begin, os.SEEK_HOLE)) - begin, False


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a piece of a Xen disk lies, and what vouches for it: ``checksum`` is an algorithm with a digest."""

    piece: Readable
    checksum: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Chunks:
    """A disk of an XVA: chunks by number, and zeroes where there is none. Each is checked when it is read."""

    label: str
    size: int
    chunks: Mapping[int, Chunk]

    def read(self, offset: int, length: int) -> bytes:
        parts: list[bytes] = []
        end = offset + length
        while offset < end:
            number, begin = divmod(offset, CHUNK_BYTES)
            parts.append(self._chunk(number)[begin : begin + end - offset])
            offset += len(parts[-1])
        return b"".join(parts)

    def extent(self, offset: int, most: int) -> tuple[int, bool]:
        number, begin = divmod(offset, CHUNK_BYTES)
        empty, length = number not in self.chunks, CHUNK_BYTES - begin
        while length < most and (number := number + 1) * CHUNK_BYTES < self.size:
            if (number not in self.chunks) is not empty:
                break
            length += CHUNK_BYTES
        return min(length, most, self.size - offset), empty

    def _chunk(self, number: int) -> bytes:
        chunk = self.chunks.get(number)
        if chunk is None:
            return _EMPTY
        data = chunk.piece.read(0, chunk.piece.size)
        if chunk.checksum is not None and not matches(data, *chunk.checksum):
            raise BadInput(
                f"chunk {number} of {self.label} does not match its checksum: the export is damaged",
                hint="export it again, or copy the file again",
            )
        return data if len(data) == CHUNK_BYTES else data.ljust(CHUNK_BYTES, b"\0")


def matches(data: bytes, algorithm: str, digest: str) -> bool:
    """Digests of xxHash are written with and without zeroes before them."""
    if algorithm == "xxhash":
        return xxh64(data) == int(digest, 16)
    return hashlib.sha1(data, usedforsecurity=False).hexdigest() == digest.lower()
