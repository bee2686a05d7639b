"""Who sits on which CPU while a distribution is made, and what that costs: quick to change and to ask.

A distribution's cost is a sum over CPUs and one over vCPUs. Of a CPU: the square of what is entitled on it, so
that even loads are cheapest; what its core's other threads carry, times :data:`SIBLING`, so that cores are filled
before threads; and what is asked of it beyond what it can do. Of a vCPU, each in proportion to what it runs:
distance from its guest's memory, CPUs that it would rather not have, distance from its guest's other vCPUs, slower
cores. All load is in CPUs; a CPU is its place in the topology, whose numbers have holes.
"""

from __future__ import annotations

from collections.abc import Iterator

from wirt.model.topology import FULL_CAPACITY, NEAR
from wirt.plan.distribute_load import POOL_0, Guest, Load, Move, Standing
from wirt.plan.distribute_shares import Claim, settle

SIBLING = 0.4
"""What a busy thread takes from another of its core, of what it would take from one on the same CPU."""
WAITING = 2.0
"""A CPU's worth of demand that waits: as bad as a whole vCPU too many on a CPU that has one."""
MEMORY, SOFT, SAME_NODE, SAME_CACHE, SLOWER = 0.3, 1.0, 0.1, 0.05, 0.3
"""Of what a vCPU runs: memory twice as far (by distance); not where it would rather be; all others of its guest
on another node, behind another cache; on a CPU of next to no capacity. Sharing a core costs 2 * SIBLING beside
these, sharing a CPU 2."""
LEAST = 0.01
"""Load of a vCPU that sleeps: so many of them are spread as well."""


class Seats:
    def __init__(self, load: Load) -> None:
        topology = load.topology
        self.load = load
        self.cpus = topology.cpus
        place = {cpu.id: at for at, cpu in enumerate(self.cpus)}
        self.place = place
        self.siblings = tuple(
            tuple(place[other] for other in cpu.siblings if other != cpu.id) for cpu in self.cpus
        )
        self.busy = [min(1.0, max(0.0, load.busy.get(cpu.id, 0.0))) for cpu in self.cpus]
        self.entitled_on = [0.0] * len(self.cpus)
        self.demanded_on = [0.0] * len(self.cpus)
        self.pressure = [0.0] * len(self.cpus)
        """What is entitled on it, and the part of its siblings' that counts."""
        self.slow = [SLOWER * (1 - cpu.capacity / FULL_CAPACITY) for cpu in self.cpus]
        self.rank = [slow / 2 for slow in self.slow]
        """By which a CPU is looked for: its pressure, how fast it is, and whether any of its time is left."""
        self.on: list[list[int]] = [[] for _ in self.cpus]
        for at, share in enumerate(self.busy):
            self._carry(at, share, share)
        self.guest: list[int] = []
        self.number: list[int] = []
        self.at: list[int | None] = []
        self.allowed: list[frozenset[int]] = []
        self.soft: list[frozenset[int] | None] = []
        self.demand: list[float] = []
        self.due: list[float] = []
        self.entitled: list[float] = []
        """What is due to it, or :data:`LEAST`."""
        self._beside: list[dict[int, int]] = [{} for _ in load.guests]
        self.far = tuple(self._distances(guest) for guest in load.guests)
        self.home: list[int | None] = [
            min(far, key=far.__getitem__) if any(far.values()) else None for far in self.far
        ]
        self._sets: dict[tuple[frozenset[int] | None, str], frozenset[int]] = {}
        self._regions: dict[tuple[frozenset[int], frozenset[int] | None, int | None], tuple[int, ...]] = {}
        self._best: dict[tuple[frozenset[int], frozenset[int] | None, int | None], int] = {}
        self._seat_all()

    # ---- who there is

    def _seat_all(self) -> None:
        claims: dict[tuple[int, frozenset[int]], Claim] = {}
        for index, guest in enumerate(self.load.guests):
            total = sum(vcpu.demand for vcpu in guest.vcpus)
            held = min(1.0, guest.cap / 100 / total) if guest.cap and total else 1.0
            for number, given in enumerate(guest.vcpus):
                allowed = self.may(given.hard, guest.pool)
                self.guest.append(index)
                self.number.append(number)
                self.allowed.append(allowed)
                self.soft.append(self._places(given.soft) & allowed if given.soft is not None else None)
                self.demand.append(given.demand * held)
                self.at.append(self.place.get(given.cpu, None) if given.cpu is not None else None)
                if given.demand > 0 and allowed:
                    claim = claims.setdefault((index, allowed), Claim(0.0, 0.0, allowed))
                    claim.weight += guest.weight * given.demand / total
                    claim.demand += given.demand * held
        capacity = {at: 1.0 - share for at, share in enumerate(self.busy)}
        settle(tuple(claims.values()), capacity, (self.may(None, pool) for pool in (POOL_0, *self.load.pools)))
        for vcpu in range(len(self.guest)):
            of = claims.get((self.guest[vcpu], self.allowed[vcpu]))
            share = of.share / of.demand if of is not None and self.demand[vcpu] > 0 else 0.0
            self.due.append(self.demand[vcpu] * share)
            self.entitled.append(max(LEAST, self.due[vcpu]))
            at, self.at[vcpu] = self.at[vcpu], None
            if at is not None and at in self.allowed[vcpu]:
                self.put(vcpu, at)

    def may(self, hard: frozenset[int] | None, pool: str) -> frozenset[int]:
        """Where a vCPU with ``hard`` in ``pool`` may run, of what is online."""
        key = (hard, pool)
        if key not in self._sets:
            self._sets[key] = self._places(self.load.may(hard, pool))
        return self._sets[key]

    def _places(self, cpus: frozenset[int]) -> frozenset[int]:
        return frozenset(self.place[cpu] for cpu in cpus if cpu in self.place)

    def _distances(self, guest: Guest) -> dict[int, float]:
        """How much farther than its own node's memory the guest's is, from each node that has CPUs."""
        nodes = {node.id: node for node in self.load.topology.nodes}
        total = sum(guest.memory.values())
        return {
            at: sum(
                size / total * (nodes[at].distance(node) / NEAR - 1) if at in nodes else 0.0
                for node, size in guest.memory.items()
            )
            for at in {cpu.node for cpu in self.cpus}
            if total > 0
        }

    # ---- sitting down and getting up

    def put(self, vcpu: int, at: int) -> None:
        self.at[vcpu] = at
        self.on[at].append(vcpu)
        self._carry(at, self.entitled[vcpu], self.demand[vcpu])
        self._count(vcpu, at, 1)
        if self.home[self.guest[vcpu]] is None:
            self.home[self.guest[vcpu]] = self.cpus[at].node

    def take(self, vcpu: int) -> None:
        at = self.at[vcpu]
        assert at is not None
        self.at[vcpu] = None
        self.on[at].remove(vcpu)
        self._carry(at, -self.entitled[vcpu], -self.demand[vcpu])
        self._count(vcpu, at, -1)

    def _carry(self, at: int, entitled: float, demanded: float) -> None:
        self.entitled_on[at] += entitled
        self.demanded_on[at] += demanded
        self.pressure[at] += entitled
        self.rank[at] = self.pressure[at] + min(1.0, self.demanded_on[at]) / 4 + self.slow[at] / 2
        for other in self.siblings[at]:
            self.pressure[other] += SIBLING * entitled
            self.rank[other] += SIBLING * entitled

    def _count(self, vcpu: int, at: int, change: int) -> None:
        beside, cpu = self._beside[self.guest[vcpu]], self.cpus[at]
        for key in (cpu.cache, -1 - cpu.node):
            beside[key] = beside.get(key, 0) + change
        self._best.clear()

    # ---- what it costs

    def dislike(self, vcpu: int, at: int) -> dict[str, float]:
        """What ``vcpu`` has against ``at``, apart from who else is there; for the whole of a CPU's time."""
        return dict(zip(("memory", "soft", "others", "slower"), self._dislikes(vcpu, at), strict=True))

    def _dislikes(self, vcpu: int, at: int) -> tuple[float, float, float, float]:
        near, close = self._others(vcpu, at)
        soft = self.soft[vcpu]
        return (
            MEMORY * self.far[self.guest[vcpu]].get(self.cpus[at].node, 0.0),
            SOFT if soft and at not in soft else 0.0,
            SAME_NODE * (1 - near) + SAME_CACHE * (1 - close),
            self.slow[at],
        )

    def _others(self, vcpu: int, at: int) -> tuple[float, float]:
        """The part of its guest's other vCPUs that are on the node of ``at``, and at its cache."""
        index, cpu, now = self.guest[vcpu], self.cpus[at], self.at[vcpu]
        beside = self._beside[index]
        near, close = beside.get(-1 - cpu.node, 0), beside.get(cpu.cache, 0)
        if now is not None:
            near -= self.cpus[now].node == cpu.node
            close -= self.cpus[now].cache == cpu.cache
        others = len(self.load.guests[index].vcpus) - 1
        return (near / others, close / others) if others else (1.0, 1.0)

    def cost(self, vcpu: int, at: int) -> float:
        """What ``vcpu`` adds at ``at``, or adds there already."""
        entitled, demand, now = self.entitled[vcpu], self.demand[vcpu], self.at[vcpu]
        pressure, demanded = self.pressure[at], self.demanded_on[at]
        if now == at:
            pressure -= entitled
            demanded -= demand
        elif now is not None and at in self.siblings[now]:
            pressure -= SIBLING * entitled
        waits = max(0.0, demanded + demand - 1) - max(0.0, demanded - 1)
        return entitled * (2 * pressure + sum(self._dislikes(vcpu, at))) + WAITING * waits

    # ---- where to look

    def candidates(self, vcpu: int) -> Iterator[int]:
        """The least busy CPUs of those that it may run on: near where it is, near its memory, where it would
        rather be, anywhere."""
        allowed, soft, now = self.allowed[vcpu], self.soft[vcpu] or None, self.at[vcpu]
        home = self.home[self.guest[vcpu]]
        if now is not None:
            yield from self._least(allowed, soft, self.cpus[now].cache)
        if home is not None:
            yield from self._least(allowed, soft, -1 - home)
        if soft is not None:
            yield from self._least(allowed, soft, None)
        yield from self._least(allowed, None, None)

    def _least(self, allowed: frozenset[int], soft: frozenset[int] | None, part: int | None) -> Iterator[int]:
        key = (allowed, soft, part)
        best = self._best.get(key)
        if best is None:
            region = self._region(key)
            best = min(region, key=self.rank.__getitem__) if region else -1
            self._best[key] = best
        if best >= 0:
            yield best

    def _region(self, key: tuple[frozenset[int], frozenset[int] | None, int | None]) -> tuple[int, ...]:
        """``part`` is a cache by its number, or a node by -1 less its number."""
        if key not in self._regions:
            allowed, soft, part = key
            self._regions[key] = tuple(
                at
                for at in sorted(allowed if soft is None else allowed & soft)
                if part is None or part in (self.cpus[at].cache, -1 - self.cpus[at].node)
            )
        return self._regions[key]

    # ---- what comes of it

    def move(self, vcpu: int, source: int | None, gain: float, reason: str, *, forced: bool = False) -> Move:
        """Of one who sits where he is to go."""
        at = self.at[vcpu]
        assert at is not None
        guest = self.load.guests[self.guest[vcpu]].name
        return Move(guest, self.number[vcpu], source, self.cpus[at].id, gain, reason, forced)

    def standing(self) -> Standing:
        waiting = sum(max(0.0, demanded - 1) for demanded in self.demanded_on)
        unplaced = sum(self.demand[vcpu] for vcpu, at in enumerate(self.at) if at is None)
        idle = sum(max(0.0, 1 - demanded) for demanded in self.demanded_on)
        short = max((1 - 1 / max(1.0, each) for each in self.entitled_on), default=0.0)
        return Standing(waiting + unplaced, idle, 1.0 if unplaced else short)
