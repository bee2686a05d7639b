"""What runs have used, counted: all runs in one pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol
from uuid import UUID

from wirt.model.accounting import RunCount


class Counters(Protocol):
    """Of the runs of one driver. Neither call fails for what becomes of a run meanwhile."""

    def read(self) -> Mapping[UUID, RunCount]:
        """Every run that is there, by its domain: cheap, with no round trip to any guest or hypervisor. ``told``
        and ``resident_bytes`` are what the last :meth:`ask` brought. A run of which nobody has asked yet is
        without vCPUs."""
        ...

    async def ask(self, domains: Collection[UUID]) -> None:
        """Have the hypervisor tell of these what only it knows: which vCPUs, disks and balloon they have; and look
        at what changes slowly. One that
        does not answer within its deadline keeps what it told before, and one that is being asked is not asked
        twice."""
        ...

    def close(self) -> None:
        """Let go of all files."""
        ...
