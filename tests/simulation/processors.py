"""A machine in memory whose CPUs each share their time fairly by weight, and guests whose demand changes; the
planner is asked once a period, and what it says is done."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tests.machine.sysfs import machine_files

from wirt.machine.topology import parse
from wirt.model.topology import Topology
from wirt.plan.distribute import LONG_AGO, POOL_0, Distribution, Guest, Load, Vcpu, distribute

Name = tuple[str, int]
"""A vCPU, by its guest and number."""


@dataclass
class Thread:
    """A vCPU as the simulation knows it: what it wants, what it got."""

    wants: float
    hard: frozenset[int] | None = None
    soft: frozenset[int] | None = None
    cpu: int | None = None
    moved: list[tuple[int, int | None, int]] = field(default_factory=list)
    """The period, from where, to where."""
    got: list[float] = field(default_factory=list)


@dataclass
class Domain:
    threads: list[Thread]
    weight: int = 256
    cap: int = 0
    pool: str = POOL_0
    memory: Mapping[int, int] = field(default_factory=dict)


def machine(nodes: int, caches: int, cores: int, threads: int) -> Topology:
    return parse(machine_files(nodes, caches, cores, threads))


def without(topology: Topology, cpus: Iterable[int]) -> Topology:
    """The same with ``cpus`` offline."""
    gone = frozenset(cpus)
    kept = tuple(
        replace(cpu, siblings=tuple(other for other in cpu.siblings if other not in gone))
        for cpu in topology.cpus
        if cpu.id not in gone
    )
    return replace(topology, cpus=kept, offline=tuple(sorted({*topology.offline, *gone})))


class Simulation:
    def __init__(self, topology: Topology, domains: Mapping[str, Domain], seed: int = 1) -> None:
        self.topology = topology
        self.domains = dict(domains)
        self.random = random.Random(seed)
        self.pools: dict[str, frozenset[int]] = {}
        self.reserved: frozenset[int] = frozenset()
        self.period = 0
        self.moves: list[int] = []
        """How many that need not have been, in each period."""
        self.last: Distribution | None = None

    def threads(self) -> Iterable[tuple[Name, Thread]]:
        for name, domain in self.domains.items():
            for number, thread in enumerate(domain.threads):
                yield (name, number), thread

    def run(self, periods: int) -> None:
        for _ in range(periods):
            self.last = distribute(self._load())
            named = dict(self.threads())
            for move in self.last.moves:
                thread = named[move.guest, move.vcpu]
                assert thread.cpu == move.source
                thread.moved.append((self.period, move.source, move.target))
                thread.cpu = move.target
            self.moves.append(sum(not move.forced for move in self.last.moves))
            self._schedule()
            self.period += 1

    def _load(self) -> Load:
        guests = tuple(
            Guest(
                name,
                tuple(self._measured(thread) for thread in domain.threads),
                domain.weight,
                domain.cap,
                domain.pool,
                domain.memory,
            )
            for name, domain in self.domains.items()
        )
        return Load(self.topology, guests, self.pools, self.reserved)

    def _measured(self, thread: Thread) -> Vcpu:
        """What it could be seen to do in the last period; of a new one nothing is known."""
        used = thread.got[-1] if thread.got else 0.0
        moved = [period for period, source, _ in thread.moved if source is not None]
        rested = self.period - moved[-1] if moved else LONG_AGO
        wanted = thread.wants if thread.got else 0.0
        return Vcpu(used, max(0.0, wanted - used), thread.cpu, rested, thread.hard, thread.soft)

    def _schedule(self) -> None:
        """Each CPU by itself, as a group scheduler does: a domain's weight is shared among its vCPUs by what they
        want. A cap is taken off all of a domain's vCPUs alike."""
        wishes: dict[int, list[tuple[Thread, float, float]]] = {}
        for domain in self.domains.values():
            total = sum(thread.wants for thread in domain.threads)
            held = min(1.0, domain.cap / 100 / total) if domain.cap and total else 1.0
            for thread in domain.threads:
                if thread.cpu is None or thread.cpu not in self.topology.online or thread.wants == 0:
                    thread.got.append(0.0)
                    continue
                weight = domain.weight * thread.wants / total
                wishes.setdefault(thread.cpu, []).append((thread, weight, thread.wants * held))
        for each in wishes.values():
            level = level_of([(weight, wants) for _, weight, wants in each], 1.0)
            for thread, weight, wants in each:
                thread.got.append(min(wants, level * weight))

    # ---- what is promised

    def demanded(self) -> dict[int, float]:
        on = dict.fromkeys(self.topology.online, 0.0)
        for _, thread in self.threads():
            if thread.cpu in on:
                on[thread.cpu] += thread.wants
        return on

    def wasted(self) -> float:
        """The most that one vCPU waits for while a CPU on which it may run has so much time."""
        demanded = self.demanded()
        free = {cpu: 1 - wanted for cpu, wanted in demanded.items() if wanted < 1}
        worst = 0.0
        for (name, _), thread in self.threads():
            if thread.cpu is None or thread.wants - thread.got[-1] < 1e-9:
                continue
            allowed = self.allowed(self.domains[name], thread)
            most = max((free[cpu] for cpu in allowed if cpu in free), default=0.0)
            worst = max(worst, min(most, thread.wants - thread.got[-1]))
        return worst

    def allowed(self, domain: Domain, thread: Thread) -> frozenset[int]:
        of_pool = self.pools.get(domain.pool) or self.topology.online.difference(*self.pools.values())
        allowed = (of_pool & self.topology.online) - self.reserved
        return allowed if thread.hard is None else allowed & thread.hard

    def shares(self, periods: int) -> dict[str, float]:
        """What each domain had of the machine over the last ``periods``, in CPUs."""
        return {
            name: sum(sum(thread.got[-periods:]) for thread in domain.threads) / periods
            for name, domain in self.domains.items()
        }

    def bounces(self, within: int) -> list[Name]:
        """Who came back to a CPU within so many periods after leaving it, and had not to leave in between."""
        found = []
        for name, thread in self.threads():
            left = {source: period for period, source, _ in thread.moved if source is not None}
            for period, _, target in thread.moved:
                if target in left and 0 < period - left[target] < within:
                    found.append(name)
        return found


def level_of(wishes: Iterable[tuple[float, float]], capacity: float) -> float:
    """The height to which ``capacity`` fills up ``(weight, demand)``, by halving: not how the planner does it."""
    each = list(wishes)
    low, high = 0.0, max((demand / weight for weight, demand in each), default=0.0)
    if sum(demand for _, demand in each) <= capacity:
        return high
    for _ in range(60):
        middle = (low + high) / 2
        if sum(min(demand, middle * weight) for weight, demand in each) > capacity:
            high = middle
        else:
            low = middle
    return low


def ideal(simulation: Simulation) -> dict[str, float]:
    """What each domain should have of a machine without pins and pools, in CPUs."""
    wishes = {}
    for name, domain in simulation.domains.items():
        wants = sum(thread.wants for thread in domain.threads)
        wishes[name] = (domain.weight, min(wants, domain.cap / 100) if domain.cap else wants)
    level = level_of(wishes.values(), len(simulation.topology.cpus))
    return {name: min(wants, level * weight) for name, (weight, wants) in wishes.items()}
