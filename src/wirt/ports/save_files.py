"""Files that hold a guest which does not run: its memory, packed while it comes, and what is said of it.

The format is :mod:`wirt.plan.save_format`'s; ``header`` and ``tail`` in it are :mod:`wirt.plan.saved`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from wirt.ports.hypervisor import MemoryStream
from wirt.ports.storage import Progress

Fill = Callable[[int], Awaitable[bytes]]
"""Writes memory into a descriptor, which is its caller's to close, and gives the tail once all is written."""


@dataclass(frozen=True, slots=True)
class SaveFacts:
    """``plain_bytes`` of memory are in ``file_bytes``."""

    header: bytes
    tail: bytes
    plain_bytes: int
    file_bytes: int


class SaveFiles(Protocol):
    """Paths are absolute. Errors: ``NotFound``, ``NameInUse``, ``Shortage`` (no room), ``Unavailable`` with the
    system's words, ``CorruptState`` (it is no such file, or damaged: where)."""

    async def check_new(self, path: str, *, replace: bool) -> None:
        """A file can be made there. ``replace``: one that is there may go."""
        ...

    async def write(self, part: str, header: bytes, fill: Fill) -> SaveFacts:
        """A file that is whole and survives a loss of power, under the name ``part``. A call that fails or is
        cancelled leaves none."""
        ...

    async def publish(self, part: str, path: str, *, replace: bool) -> None:
        """``part`` is called ``path`` from now on. Repeating it is no error."""
        ...

    async def discard(self, path: str) -> None:
        """One that is not there is no error."""
        ...

    async def facts(self, path: str) -> SaveFacts:
        """What it says at both ends, which have been checked; what is between them has not."""
        ...

    def memory(self, path: str, progress: Progress) -> AbstractAsyncContextManager[MemoryStream]:
        """Its memory, each chunk compared with its checksum before it is given. On leaving, the file has been read
        to its end and compared as a whole."""
        ...
