"""What wirt asks of the kernel about the host's memory: huge pages, merged pages, and where a process's lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from wirt.model.memory import HugeMemory, Merging


class HostMemory(Protocol):
    def huge(self) -> HugeMemory:
        """As it is now: a few small reads."""
        ...

    def merging(self) -> Merging | None:
        """``None`` where the kernel can't merge pages."""
        ...

    def merge(self, *, on: bool, scan: int | None = None, sleep_ms: int | None = None) -> None:
        """Have the kernel look for pages that are the same, or part again all that it has merged. ``scan`` and
        ``sleep_ms`` as in :class:`~wirt.model.memory.Merging`; ``None``: as they are. ``Unavailable`` if the host
        refuses."""
        ...

    def nodes_of(self, pid: int) -> Mapping[int, int]:
        """How many bytes of a process lie on which node. The kernel looks at each of its pages, which takes some
        milliseconds for each GiB: not on the event loop. Empty of one that is gone, or where it may not be
        seen."""
        ...
