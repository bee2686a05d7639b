"""A packed archive (``xe vm-export compress=``), read as if it were not. It is unpacked as it is read, forwards,
and nothing is kept of it but what was read last; whoever looks back further has it unpacked from its begin again.
What it may grow to is bounded, and so is the memory that takes. Sources: RFC 1952, RFC 8878."""

from __future__ import annotations

import os
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Protocol, cast

import zstandard

from wirt.model.errors import BadInput
from wirt.model.units import MIB

MOST_WINDOW = 128 * MIB
"""What zstd may refer back to, as by ``zstd --long``."""
KEPT = 96
"""Reads, of at most a chunk each (1 MiB): more than qemu-img has under way at once."""
MOST_PASSES = 8
FIRST_BYTES = 64 * MIB
"""As far as it is read before it is known what it holds."""
_PART = 256 * 1024
_SKIP = MIB


class _Unpacker(Protocol):
    def read(self, most: int) -> bytes:
        """The next bytes, 1 to ``most``; none at the end. ``BadInput`` if it is damaged or cut off."""
        ...


class PackedFile:
    """``limit``: to how many bytes it may grow."""

    def __init__(self, fd: int, program: str, what: str) -> None:
        self._fd = fd
        self._program = program
        self._what = what
        self._passes = 0
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._end: int | None = None
        self.limit = FIRST_BYTES
        self._begin()

    @property
    def size(self) -> int:
        """What it may have, until its end was seen."""
        return self.limit if self._end is None else self._end

    def part(self, offset: int, size: int) -> PackedPart:
        if self._end is None and offset + size > self.limit:
            raise self._too_much()
        return PackedPart(self, offset, size)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes; what is beyond the end reads as zeroes."""
        key = (offset, length)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if offset < self._at:
            self._begin()
        while self._at < offset and self._next(min(_SKIP, offset - self._at)):
            pass
        found = bytearray()
        while len(found) < length and (part := self._next(length - len(found))):
            found += part
        data = self._kept[key] = bytes(found).ljust(length, b"\0")
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return data

    def _begin(self) -> None:
        self._passes += 1
        if self._passes > MOST_PASSES:
            raise BadInput(
                f"{self._what} is read to and fro, and would be unpacked again and again",
                hint=f"unpack it first: {self._program} -d",
            )
        unpack = _Gzip if self._program == "gzip" else _Zstd
        self._unpacker: _Unpacker = unpack(self._fd, self._what)
        self._at = 0

    def _next(self, most: int) -> bytes:
        part = self._unpacker.read(most)
        self._at += len(part)
        if not part:
            self._end = self._at
        if self._at > self.limit:
            raise self._too_much()
        return part

    def _too_much(self) -> BadInput:
        return BadInput(
            f"{self._what} unpacks to more than {self.limit // MIB} MiB: its disks can't hold so much",
            hint="export it again",
        )


@dataclass(frozen=True, slots=True)
class PackedPart:
    """``size`` bytes from ``offset`` of a packed file."""

    whole: PackedFile
    offset: int
    size: int

    def read(self, offset: int, length: int) -> bytes:
        wanted = max(0, min(length, self.size - offset))
        return self.whole.read(self.offset + offset, wanted).ljust(length, b"\0")

    def extent(self, offset: int, most: int) -> tuple[int, bool]:
        return min(most, self.size - offset), False


def _from(fd: int) -> Callable[[], bytes]:
    """The file's bytes in order, whoever else reads it."""
    at = 0

    def more() -> bytes:
        nonlocal at
        data = os.pread(fd, _PART, at)
        at += len(data)
        return data

    return more


class _Gzip:
    """Of one member or more, after which zeroes may follow."""

    def __init__(self, fd: int, what: str) -> None:
        self._more, self._what = _from(fd), what
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._rest = b""

    def read(self, most: int) -> bytes:
        while True:
            data = self._rest or self._more()
            if self._inflate.eof:
                data = data.lstrip(b"\0")
                if not data:
                    if not (data := self._more()):
                        return b""
                    self._rest = data
                    continue
                self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
            elif not data:
                raise BadInput(f"{self._what} is cut off: it is not whole")
            try:
                found = self._inflate.decompress(data, most)
            except zlib.error as error:
                raise BadInput(f"{self._what} is damaged: {error}") from error
            self._rest = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if found:
                return found


class _Zstd:
    """Of one frame or more."""

    def __init__(self, fd: int, what: str) -> None:
        self._what = what
        unpack = zstandard.ZstdDecompressor(max_window_size=MOST_WINDOW)
        source = cast(IO[bytes], _File(_from(fd)))
        self._reader = unpack.stream_reader(source, read_size=_PART, read_across_frames=True)

    def read(self, most: int) -> bytes:
        try:
            return self._reader.read(most)
        except zstandard.ZstdError as error:
            raise BadInput(f"{self._what} is damaged: {error}") from error


class _File:
    """What zstandard reads from."""

    def __init__(self, more: Callable[[], bytes]) -> None:
        self._more = more
        self._rest = b""

    def read(self, most: int = -1) -> bytes:
        data = self._rest or self._more()
        if most < 0:
            most = len(data)
        self._rest = data[most:]
        return data[:most]
