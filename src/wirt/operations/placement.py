"""On which CPUs each vCPU may be: what is recorded, put into the planner's terms and laid on threads.

``cpus`` and pools hold by themselves; what ``cpus_soft`` prefers is the distributor's to follow
(:mod:`wirt.operations.distribution`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from wirt.model.accounting import VcpuCount
from wirt.model.cpulists import cpus_named
from wirt.model.domain import Domain, DomainConfig
from wirt.model.errors import BadInput, IllegalState, Unavailable
from wirt.model.topology import Topology
from wirt.plan.distribute import LONG_AGO, POOL_0, Guest, Load, Vcpu, reach
from wirt.plan.distribute_seats import Seats
from wirt.plan.distribute_words import why_impossible
from wirt.plan.launch import DEFAULT_WEIGHT
from wirt.ports.machine import Processors

if TYPE_CHECKING:
    from wirt.operations.environment import Environment


class Distribution(StrEnum):
    """Whether the distributor moves vCPUs, only says what it would, or is not asked."""

    OFF = "off"
    ADVISING = "advising"
    ON = "on"


class Reach(StrEnum):
    """What the distributor leaves a vCPU: the CPUs at one cache, or one CPU."""

    CACHE = "cache"
    CPU = "cpu"


@dataclass(slots=True)
class Seat:
    """Of one vCPU: ``home`` is where the distributor has it, ``left`` where an earlier daemon's had it, until it
    was counted. ``used`` and ``waited`` are smoothed parts of the last periods, ``last`` the count that they were
    made from, taken ``at`` (monotonic)."""

    home: int | None = None
    left: frozenset[int] | None = None
    rested: int = LONG_AGO
    used: float = 0.0
    waited: float = 0.0
    last: VcpuCount | None = None
    at: float = 0.0
    advised: int | None = None


@dataclass(slots=True)
class Placement:
    """``reserved``: CPUs that no guest gets, as xl.cfg writes them; empty: none. ``seats`` by domain and vCPU."""

    processors: Processors | None = None
    reserved: str = ""
    mode: Distribution = Distribution.OFF
    reach: Reach = Reach.CACHE
    seats: dict[tuple[UUID, int], Seat] = field(default_factory=dict)
    busy: dict[int, float] = field(default_factory=dict)
    cpu_times: tuple[dict[int, float], float] = field(default_factory=lambda: ({}, 0.0))
    """Seconds that each CPU has worked, and when that was read (monotonic)."""
    memory: Mapping[UUID, Mapping[int, int]] = field(default_factory=dict)
    """Of each domain, how many bytes lie on which node (:mod:`wirt.operations.memory_nodes`)."""
    _topology: Topology | None = None

    def topology(self) -> Topology | None:
        """As it is now, read anew when a CPU came or went; ``Unavailable`` where the machine does not tell."""
        if self.processors is None:
            return None
        if self._topology is None or self.processors.online() != self._topology.online:
            self._topology = self.processors.topology()
        return self._topology

    def seat(self, domain: UUID, vcpu: int) -> Seat:
        return self.seats.setdefault((domain, vcpu), Seat())


def wish(text: str | tuple[str, ...] | None, vcpu: int, topology: Topology) -> frozenset[int] | None:
    """What ``cpus`` or ``cpus_soft`` say of ``vcpu``; ``None`` if nothing. A list that is shorter leaves the rest
    free, as Xen does. ``BadInput`` if this host has none of them."""
    if isinstance(text, tuple):
        text = text[vcpu] if vcpu < len(text) else None
    return None if text is None or text.strip() == "all" else cpus_named(text, topology)


def memory_nodes(environment: Environment, config: DomainConfig) -> tuple[int, ...]:
    """The nodes whose CPUs may run a guest, if those are not all that have memory: its memory is to come from
    there. A machine that has one node, or does not tell, has no choice to make."""
    placement = environment.scheduling.placement
    try:
        topology = placement.topology()
        if topology is None:
            return ()
        with_memory = {node.id for node in topology.nodes if node.memory_bytes}
        reserved = cpus_named(placement.reserved, topology) if placement.reserved else frozenset()
        load = Load(topology, (), pools(environment), reserved)
        numbers = range(config.maxvcpus or config.vcpus)
        cpus = frozenset().union(*(load.may(wish(config.cpus, n, topology), pool_of(config)) for n in numbers))
    except (BadInput, Unavailable):
        return ()  # whoever starts it says what is wrong
    near = {cpu.node for cpu in topology.cpus if cpu.id in cpus} & with_memory
    return tuple(sorted(near)) if near and near < with_memory else ()


def pool_of(config: DomainConfig) -> str:
    return config.pool or POOL_0


def load_of(environment: Environment, domains: Iterable[Domain], topology: Topology) -> Load:
    """What the planner is asked with. ``BadInput`` of a domain that names CPUs which this host has not got."""
    placement = environment.scheduling.placement
    reserved = cpus_named(placement.reserved, topology) if placement.reserved else frozenset()
    guests = tuple(_guest(placement, environment.qos_classes.of(domain), topology) for domain in domains)
    return Load(topology, guests, pools(environment), reserved, placement.busy)


def pools(environment: Environment) -> Mapping[str, frozenset[int]]:
    """Beside Pool-0."""
    return environment.cpu_pools.all


def _guest(placement: Placement, domain: Domain, topology: Topology) -> Guest:
    config, vcpus = domain.config, []
    for number in range(config.maxvcpus or config.vcpus):
        seat = placement.seats.get((domain.uuid, number), Seat())
        cpu = seat.home if placement.mode is Distribution.ON or seat.last is None else seat.last.cpu
        hard, soft = wish(config.cpus, number, topology), wish(config.cpus_soft, number, topology)
        vcpus.append(Vcpu(seat.used, seat.waited, cpu, seat.rested, hard, soft))
    return Guest(
        domain.name,
        tuple(vcpus),
        config.cpu_weight or DEFAULT_WEIGHT,
        config.cap or 0,
        pool_of(config),
        placement.memory.get(domain.uuid, {}),
    )


def check_place(environment: Environment, domain: Domain) -> None:
    """``BadInput`` or ``IllegalState`` if a vCPU of ``domain`` may run nowhere now, with the CPUs that can be."""
    environment.cpu_pools.check(pool_of(domain.config))
    topology = _topology_for(environment, domain.config)
    if topology is not None:
        check_load(load_of(environment, [domain], topology), domain.name)


def _topology_for(environment: Environment, config: DomainConfig) -> Topology | None:
    """A machine that does not tell which CPUs it has keeps nobody from running who asks for none: ``None``."""
    placement = environment.scheduling.placement
    try:
        return placement.topology()
    except Unavailable:
        if config.cpus is not None or config.pool is not None or placement.reserved:
            raise
        return None


def check_load(load: Load, name: str) -> None:
    """``IllegalState`` if a vCPU of the only domain in ``load`` may run nowhere."""
    (guest,) = load.guests
    for number, vcpu in enumerate(guest.vcpus):
        if not load.may(vcpu.hard, guest.pool):
            found = why_impossible(Seats(load), number)
            raise IllegalState(f"vCPU {number} of {name} may run nowhere: {found.why}", hint=found.hint)


def place(
    environment: Environment, domain: Domain, threads: Mapping[int, int], most_cpus: int | None = None
) -> None:
    """Keep the threads of ``domain`` to where they may be; ``most_cpus`` is all that a cap leaves it where only
    affinity can hold it. A vCPU that may run nowhere stays where it is, which is raised once all are seen to."""
    scheduling, placement = environment.scheduling, environment.scheduling.placement
    topology = _topology_for(environment, domain.config)
    if topology is None or scheduling.threads is None:
        return
    load = load_of(environment, [domain], topology)
    (guest,) = load.guests
    pid = domain.incarnation.pid if domain.incarnation is not None else None
    main = None if pid is None else scheduling.threads.affinity(pid)
    for number, thread in sorted(threads.items())[: len(guest.vcpus)]:
        vcpu = guest.vcpus[number]
        may = load.may(vcpu.hard, guest.pool)
        cpus = _within(load, guest, vcpu, may, placement)
        if placement.mode is Distribution.ON:
            now, usual = scheduling.threads.affinity(thread), topology.online if main is None else main
            cpus = _left(placement, (domain.uuid, number), now, usual) & may or cpus
        if _is_free(load, guest, vcpu, placement) and main is not None:
            cpus = main
        if most_cpus is not None:
            cpus = frozenset(sorted(cpus)[:most_cpus])
        if cpus:
            scheduling.threads.pin(thread, cpus)
    environment.cpu_pools.check(guest.pool)
    check_load(load, domain.name)


def _left(
    placement: Placement, key: tuple[UUID, int], now: frozenset[int] | None, usual: frozenset[int]
) -> frozenset[int]:
    """Where an earlier daemon put a vCPU that has no home yet; nowhere if it has, or is kept (``now``) to no less
    than its process is (``usual``)."""
    if key not in placement.seats and now is not None and now != usual:
        placement.seat(*key).left = now
    seat = placement.seats.get(key)
    return frozenset() if seat is None or seat.left is None or seat.home is not None else seat.left


def _is_free(load: Load, guest: Guest, vcpu: Vcpu, placement: Placement) -> bool:
    """Nothing is said of where it runs: it may be where the rest of its process may, whoever has said that."""
    unsaid = vcpu.hard is None and guest.pool == POOL_0 and not load.pools and not load.reserved
    return unsaid and placement.mode is not Distribution.ON


def _within(load: Load, guest: Guest, vcpu: Vcpu, may: frozenset[int], placement: Placement) -> frozenset[int]:
    home = vcpu.cpu
    if placement.mode is not Distribution.ON or home is None or home not in may:
        return may
    return frozenset({home}) if placement.reach is Reach.CPU else reach(load, guest, vcpu, home)
