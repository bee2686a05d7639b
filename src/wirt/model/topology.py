"""A machine's processors and how they lie to one another: threads in cores, cores at caches, nodes with memory.

Only CPUs that are online have a place: what the kernel knew of the others is gone while they are off (Linux,
Documentation/admin-guide/cputopology.rst).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

FULL_CAPACITY = 1024
"""Of the fastest CPU of a machine (Linux, Documentation/ABI/testing/sysfs-devices-system-cpu, "cpu_capacity")."""
NEAR = 10
"""A node's distance to itself (ACPI, "System Locality Information Table")."""
FAR = 20
"""Between two nodes of which nobody says how far they are apart."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """One that is online. ``core`` and ``cache`` are named after the lowest CPU that shares them; ``siblings`` are
    the threads of its core, itself among them, in order. ``cache`` is the last level's."""

    id: int
    core: int
    siblings: tuple[int, ...]
    package: int
    cache: int
    node: int
    capacity: int = FULL_CAPACITY


@dataclass(frozen=True, slots=True)
class Node:
    """A NUMA node. It may be without CPUs, or without memory. ``distances`` is by the other node's number."""

    id: int
    memory_bytes: int
    free_bytes: int = 0
    distances: Mapping[int, int] = field(default_factory=dict)

    def distance(self, other: int) -> int:
        return self.distances.get(other, NEAR if other == self.id else FAR)


@dataclass(frozen=True, slots=True)
class Topology:
    """``cpus`` are those online, by number; there may be holes. ``offline`` are there and switched off.
    ``remarks`` say what the kernel does not tell, one sentence each."""

    cpus: tuple[Cpu, ...]
    nodes: tuple[Node, ...]
    offline: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def online(self) -> frozenset[int]:
        return frozenset(cpu.id for cpu in self.cpus)

    def of_node(self, node: int) -> frozenset[int]:
        """The CPUs of ``node`` that are online."""
        return frozenset(cpu.id for cpu in self.cpus if cpu.node == node)

    def caches(self) -> Mapping[int, frozenset[int]]:
        """The CPUs that share a last-level cache, by its name."""
        return _grouped((cpu.cache, cpu.id) for cpu in self.cpus)

    def cores(self) -> Mapping[int, frozenset[int]]:
        return _grouped((cpu.core, cpu.id) for cpu in self.cpus)


def _grouped(pairs: Iterable[tuple[int, int]]) -> Mapping[int, frozenset[int]]:
    groups: dict[int, set[int]] = {}
    for key, cpu in pairs:
        groups.setdefault(key, set()).add(cpu)
    return {key: frozenset(group) for key, group in groups.items()}
