"""Kernels, initial RAM disks and firmware that came to this host with the domains that they start: each is kept
once, under its content, for as long as a domain names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wirt.ports.layers import Content

MOST_BYTES = 1 << 30
"""Of one file. What is larger is no kernel, nor anything else of the kind that anybody would want to send."""


@dataclass(frozen=True, slots=True)
class BootFile:
    """``path`` is where it is here, ``origin`` where it was on the host that it came from at first."""

    path: str
    origin: str


class BootFiles(Protocol):
    """Errors: ``Shortage``, ``Unavailable`` with the system's words."""

    def place(self, content: Content, origin: str) -> str:
        """Where a file of that content that was called ``origin`` would be kept, if there is none yet."""
        ...

    async def find(self, content: Content) -> BootFile | None:
        """The one of that content, whatever it was called."""
        ...

    async def stored(self) -> tuple[BootFile, ...]: ...

    async def begin(self, content: Content, origin: str) -> str:
        """The path of a new empty file, to be filled."""
        ...

    async def keep(self, part: str, content: Content, origin: str) -> None:
        """What :meth:`begin` gave is whole, and at its :meth:`place` from now on. Nothing writes it any more."""
        ...

    async def remove(self, path: str) -> None:
        """One of :meth:`stored`, or what :meth:`begin` gave. One that is not there is no error."""
        ...

    async def tidy(self) -> None:
        """Take away what was begun and never kept: while nothing is under way."""
        ...
