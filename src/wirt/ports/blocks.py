"""A disk as bytes: what a backup reads and a restoration writes. Synchronous, for a thread of its own: every call
waits for a bounded time only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

BLOCK = 64 * 1024
"""The grain of what is known to have changed, in bytes."""


@dataclass(frozen=True, slots=True)
class Extent:
    """In bytes."""

    offset: int
    length: int


class Blocks(Protocol):
    """Errors: ``Unavailable`` (whoever serves it has gone, refuses, or is silent), ``Shortage`` (no room for what
    is written)."""

    @property
    def size(self) -> int: ...

    def extents(self) -> Iterator[Extent]:
        """In order: what may hold something else than zeroes; opened for changes, what may have changed;
        opened for its topmost image, what that has."""
        ...

    def read(self, offset: int, length: int) -> bytes: ...

    def write(self, offset: int, data: bytes) -> None: ...

    def flush(self) -> None:
        """All that was written survives a loss of power from here on."""
        ...

    def close(self) -> None: ...
