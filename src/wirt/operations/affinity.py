"""``wirt vcpu-pin``."""

from __future__ import annotations

from dataclasses import replace

from wirt.config.xlcfg import with_value
from wirt.model.cpulists import cpus_named, list_text
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, Unavailable
from wirt.model.topology import Topology
from wirt.operations.environment import Environment
from wirt.operations.placement import check_place, wish
from wirt.operations.sched_verbs import Value, change, guest, read
from wirt.operations.scheduling import vcpus_of

ALL, KEEP = "all", "-"


async def pin(environment: Environment, ref: str, vcpu: str, hard: str, soft: str = KEEP) -> Domain:
    """``vcpu`` is a number or ``all``; ``hard`` and ``soft`` are lists of CPUs, ``all``, or ``-`` to leave them.
    ``BadInput`` with what can be."""
    domain = guest(environment, ref)
    topology = environment.scheduling.placement.topology()
    if topology is None:
        raise Unavailable("this host does not tell which CPUs it has")
    chosen = _chosen(domain, vcpu)
    values: dict[str, Value] = {}
    for key, said, now in (("cpus", hard, domain.config.cpus), ("cpus_soft", soft, domain.config.cpus_soft)):
        if said != KEEP:
            _check_online(said, topology)
            values[key] = _written(now, vcpus_of(domain.config), chosen, said)
    wished = domain
    for key, value in values.items():
        text = with_value(wished.text, key, value)
        wished = replace(wished, text=text, config=read(text, domain.name))
    check_place(environment, wished)
    return await change(environment, domain, values)


def _chosen(domain: Domain, vcpu: str) -> range:
    count = vcpus_of(domain.config)
    if vcpu == ALL:
        return range(count)
    if not (vcpu.isascii() and vcpu.isdigit() and len(vcpu) < 6 and int(vcpu) < count):
        raise BadInput(
            f"domain {domain.name} has no vCPU {vcpu[:20]}",
            hint=f"it has 0 to {count - 1}, and all is all of them",
        )
    return range(int(vcpu), int(vcpu) + 1)


def _check_online(said: str, topology: Topology) -> None:
    named = cpus_named(said, topology)
    if not named & topology.online:
        raise BadInput(
            f"of the CPUs {list_text(named)} none is online", hint=f"online are {list_text(topology.online)}"
        )


def _written(now: str | tuple[str, ...] | None, count: int, chosen: range, said: str) -> Value:
    """The key's value with ``said`` for the chosen vCPUs: one text if all have the same, nothing if it is all."""
    if isinstance(now, tuple):
        each = [now[number] if number < len(now) else ALL for number in range(count)]
    else:
        each = [now or ALL] * count
    for number in chosen:
        each[number] = said
    if len(set(each)) > 1:
        return each
    return None if each[0] == ALL else each[0]


def shown(environment: Environment, domain: Domain, vcpu: int) -> tuple[str, str]:
    """The CPUs that ``vcpu`` is kept to, and those that it is better on, as lists: ``all`` if nothing is said of
    them, ``none`` if this host has none of them."""
    try:
        topology = environment.scheduling.placement.topology()
    except Unavailable:
        topology = None
    hard, soft = (_list(said, vcpu, topology) for said in (domain.config.cpus, domain.config.cpus_soft))
    return hard, soft


def _list(said: str | tuple[str, ...] | None, vcpu: int, topology: Topology | None) -> str:
    if topology is None:
        return ALL  # nobody can be pinned there
    try:
        cpus = wish(said, vcpu, topology)
    except BadInput:
        return "none"
    return ALL if cpus is None else list_text(cpus)
