"""The host machine, as far as wirt must know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wirt.model.topology import Topology


@dataclass(frozen=True, slots=True)
class MachineNow:
    """A reading. ``cpu_time_s`` is what the whole machine has spent working since it booted; guests that run as
    processes are part of it. ``each_cpu_time_s`` is the same for each CPU, by its number."""

    cpus: int
    memory_bytes: int
    available_bytes: int
    cpu_time_s: float
    uptime_s: float
    release: str
    architecture: str
    each_cpu_time_s: tuple[tuple[int, float], ...] = ()
    native_requests: int = 65536
    """Of Linux AIO, that may still be reserved (Linux, Documentation/admin-guide/sysctl/fs.rst, "aio-nr")."""


class Machine(Protocol):
    @property
    def name(self) -> str:
        """What the host is called, in the store and in messages."""
        ...

    def now(self) -> MachineNow: ...

    def missing(self, path: str, *, write: bool) -> str | None:
        """Why ``path`` can't be opened so ("does not exist", "is a directory", "permission denied"); ``None`` if
        it can."""
        ...

    def is_block_device(self, path: str) -> bool: ...

    def resident_bytes(self, pid: int) -> int:
        """How much memory a process has taken; 0 of one that is gone."""
        ...


class Processors(Protocol):
    def online(self) -> frozenset[int]:
        """The CPUs that are: one small read. ``Unavailable`` where the machine does not tell."""
        ...

    def topology(self) -> Topology:
        """As it is now: CPUs come and go. ``Unavailable`` where the machine does not tell."""
        ...
