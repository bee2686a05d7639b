"""What wirt asks of the threads that vCPUs are: where they may run, and how long they ran and waited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ThreadTime:
    """Since the thread began: ``ran_s`` on a CPU, and ``waited_s`` that it could have run and had none. ``cpu`` is
    the one that it is on, or was on last."""

    ran_s: float
    waited_s: float
    cpu: int | None


class VcpuThreads(Protocol):
    """A thread that is gone is no error: its guest ends."""

    async def of(self, domain: UUID) -> Mapping[int, int]:
        """The thread of each vCPU of a run, by the vCPU's number. ``IllegalState`` if it does not run; errors of
        :class:`~wirt.ports.hypervisor.Hypervisor`. Cheap from the second time on."""
        ...

    def time(self, thread: int) -> ThreadTime | None: ...

    def affinity(self, thread: int) -> frozenset[int] | None:
        """The CPUs that it may run on."""
        ...

    def pin(self, thread: int, cpus: frozenset[int]) -> None:
        """Let it run on ``cpus`` only, from now on. ``Unavailable`` if the host refuses, as of CPUs of which none
        is online."""
        ...
