"""Bytes of an archive that belong together, wherever they lie: a part of a file, or the chunks of a Xen disk."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Slice:
    """``size`` bytes from ``offset`` of an open file."""

    fd: int
    offset: int
    size: int

    def read(self, offset: int, length: int) -> bytes:
        wanted = max(0, min(length, self.size - offset))
        found = os.pread(self.fd, wanted, self.offset + offset)
        while len(found) < wanted:  # it seldom comes in parts
            part = os.pread(self.fd, wanted - len(found), self.offset + offset + len(found))
            if not part:
                raise BadInput("the file has become shorter while it was read")
            found += part
        return found if len(found) == length else found.ljust(length, b"\0")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a piece of a Xen disk lies, and what vouches for it: ``checksum`` is an algorithm with a digest."""

    piece: Slice
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
