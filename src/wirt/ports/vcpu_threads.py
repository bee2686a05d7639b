"""What wirt asks of the threads that vCPUs are: where they may run. What they used is counted with all else
(:mod:`wirt.ports.counters`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from uuid import UUID


class VcpuThreads(Protocol):
    """A thread that is gone is no error: its guest ends."""

    async def of(self, domain: UUID) -> Mapping[int, int]:
        """The thread of each vCPU of a run, by the vCPU's number. ``IllegalState`` if it does not run; errors of
        :class:`~wirt.ports.hypervisor.Hypervisor`. Cheap from the second time on."""
        ...

    def affinity(self, thread: int) -> frozenset[int] | None:
        """The CPUs that it may run on."""
        ...

    def pin(self, thread: int, cpus: frozenset[int]) -> None:
        """Let it run on ``cpus`` only, from now on. ``Unavailable`` if the host refuses, as of CPUs of which none
        is online."""
        ...
