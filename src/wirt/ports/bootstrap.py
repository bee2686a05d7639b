"""Laying down a whole system, in a scratch directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wirt.plan.bootstrap import BootstrapPlan
from wirt.plan.bootstrap_tools import Source

Progress = Callable[[str, float], None]
"""Called with what is being done and the share that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class System:
    """Files in the scratch directory: a raw disk, sparse, and of a guest that is entered directly its kernel."""

    disk: Path
    kernel: Path
    initrd: Path


@dataclass(frozen=True, slots=True)
class Blank:
    """Of a file or device that is to be written over: its size in bytes, and whether there is nothing on it."""

    size: int
    empty: bool


class Bootstrapper(Protocol):
    """Errors: ``Unavailable`` (a program is missing, a mirror is out of reach; bounded in time), ``BadInput`` (no
    such release or package), ``Shortage``."""

    async def sources(self) -> tuple[Source, ...]:
        """Where the host's own Debian packages come from; none where there is no apt."""
        ...

    def check(self, plan: BootstrapPlan) -> None:
        """``Unavailable`` unless this host has what it takes."""
        ...

    async def build(self, plan: BootstrapPlan, scratch: Path, progress: Progress) -> System:
        """Lay the system into ``scratch``, which is made. A cancelled call has ended all that it started."""
        ...

    async def discard(self, scratch: Path) -> None:
        """Take it away with all that is in it; one that is not there is no error."""
        ...

    async def look(self, path: str) -> Blank:
        """``NotFound``; ``ResourceBusy`` if it is mounted, swap, or a part of something else (a volume group, an
        array)."""
        ...

    async def wipe(self, path: str) -> None:
        """Make what was half written unmistakable: no partition table and no file system is found on it."""
        ...

    async def exists(self, path: Path) -> bool: ...

    async def remove(self, path: Path) -> None:
        """A file that :meth:`put` or a copy made, and its directory if that is empty then and wirt's own. One that
        is not there is no error."""
        ...

    async def put(self, content: Path | str, target: Path) -> None:
        """A file (or a text) into a new file, wholly or not at all. ``NameInUse`` if there is one."""
        ...
