"""What guests are distributed over processors from, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wirt.model.topology import Topology
from wirt.plan.launch import DEFAULT_WEIGHT

POOL_0 = "Pool-0"
"""The pool that all CPUs are in which are in no other (xl(1), "CPUPOOLS COMMANDS")."""
LONG_AGO = 1 << 30


@dataclass(frozen=True, slots=True)
class Vcpu:
    """``used`` and ``waited`` are parts of the last period, 0 to 1: it ran, or could have run and had no CPU; what
    jumps from period to period is better smoothed before. ``cpu`` is where it is, ``None`` for a new one;
    ``rested`` how many periods ago it was moved last, its first placement not counted. ``hard``: it never runs
    elsewhere; ``soft``: it rather does not."""

    used: float = 0.0
    waited: float = 0.0
    cpu: int | None = None
    rested: int = LONG_AGO
    hard: frozenset[int] | None = None
    soft: frozenset[int] | None = None

    @property
    def demand(self) -> float:
        return min(1.0, max(0.0, self.used) + max(0.0, self.waited))


@dataclass(frozen=True, slots=True)
class Guest:
    """``cap`` is in percent of one CPU, 0 for none. ``memory`` is how many bytes of it lie on which node."""

    name: str
    vcpus: tuple[Vcpu, ...]
    weight: int = DEFAULT_WEIGHT
    cap: int = 0
    pool: str = POOL_0
    memory: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Load:
    """``pools`` are those beside Pool-0. ``reserved`` CPUs are kept for Domain-0; ``busy`` is the part of each
    CPU's time that other things than guests take."""

    topology: Topology
    guests: tuple[Guest, ...]
    pools: Mapping[str, frozenset[int]] = field(default_factory=dict)
    reserved: frozenset[int] = frozenset()
    busy: Mapping[int, float] = field(default_factory=dict)

    def may(self, hard: frozenset[int] | None, pool: str) -> frozenset[int]:
        """Where a vCPU with ``hard`` may run of what is online, if its guest is in ``pool``."""
        online = self.topology.online
        cpus = online.difference(*self.pools.values()) if pool == POOL_0 else self.pools.get(pool, frozenset())
        found = (cpus & online) - self.reserved
        return found if hard is None else found & hard


@dataclass(frozen=True, slots=True)
class Move:
    """``source`` is ``None`` for a vCPU that had no CPU yet. ``gain`` is what is won by it, in the planner's own
    measure: 2 for a CPU that worked for nobody and now does; below 0 for moves that must be (``forced``), which
    have what they cost."""

    guest: str
    vcpu: int
    source: int | None
    target: int
    gain: float
    reason: str
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Impossible:
    """A vCPU that may run nowhere, and why."""

    guest: str
    vcpu: int
    why: str
    hint: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a distribution does. ``waiting``: how many CPUs' worth of demand has to wait, on the CPUs where it is;
    ``idle``: how many CPUs' worth nobody asks for. ``short``: the part of what it is entitled to that the vCPU
    which is worst off does not get."""

    waiting: float
    idle: float
    short: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """``entitled``: of each vCPU, by guest and number, the part of a CPU that is its by weight, cap and demand."""

    moves: tuple[Move, ...]
    impossible: tuple[Impossible, ...]
    before: Standing
    after: Standing
    entitled: Mapping[tuple[str, int], float]
