"""``wirt cpupool-*``: CPUs set apart for some domains. A change is refused if a domain that runs could then run
nowhere; it is written down first and laid on then."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wirt.config.xlcfg.syntax import Text, parse
from wirt.model.cpulists import cpus_named, list_text
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, NameInUse, ResourceBusy, Unavailable
from wirt.model.text import plain
from wirt.model.topology import Topology
from wirt.operations.environment import Environment
from wirt.operations.placement import check_load, check_place, load_of, pool_of
from wirt.operations.sched_verbs import change, guest
from wirt.operations.scheduling import is_held, lay
from wirt.plan.distribute import POOL_0

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
SCHEDULERS = ("credit", "credit2")
EVENT = "cpu-pool"


@dataclass(frozen=True, slots=True)
class PoolUse:
    """``cpus`` are those of it that are online; ``domains`` name it, also those that are off."""

    name: str
    cpus: frozenset[int]
    domains: tuple[Domain, ...]


def look(environment: Environment) -> tuple[PoolUse, ...]:
    """Pool-0 first, then by name."""
    topology, pools = _topology(environment), environment.cpu_pools.all
    rest = topology.online.difference(*pools.values())
    found = [(POOL_0, rest), *((name, pools[name] & topology.online) for name in sorted(pools))]
    return tuple(PoolUse(name, cpus, _domains(environment, name)) for name, cpus in found)


async def create(environment: Environment, text: str, overrides: Sequence[str]) -> None:
    """``text`` is xl's file of a pool (xlcpupool.cfg(5)), ``overrides`` its keys once more, ``KEY=VALUE``."""
    said = _read(text, overrides)
    name = said.get("name", "")
    if not NAME.fullmatch(name):
        raise BadInput(
            f"{plain(name, 40)!r} can't be a CPU pool's name", hint="letters, digits, dots, dashes: at most 63"
        )
    if said.get("sched", "credit") not in SCHEDULERS:
        raise BadInput(
            f"a pool can't have the scheduler {plain(said['sched'], 40)}",
            hint=f"{' or '.join(SCHEDULERS)}; wirt sched-rtds gives a domain of any pool a budget",
        )
    topology = _topology(environment)
    async with environment.cpu_pools.lock:
        pools = environment.cpu_pools.all
        if name == POOL_0 or name in pools:
            raise NameInUse(f"there is a CPU pool {name} already", hint="wirt cpupool-list shows all")
        cpus = _free(environment, topology, said.get("cpus", ""), name)
        _check(environment, topology, {**pools, name: cpus})
        await environment.cpu_pools.put(name, cpus)
    await _done(environment, name, "created")


async def destroy(environment: Environment, name: str) -> None:
    """``ResourceBusy`` while a domain names it, also one that is off. Its CPUs are Pool-0's again."""
    async with environment.cpu_pools.lock:
        _check_not_0(environment, name)
        if domains := _domains(environment, name):
            raise ResourceBusy(
                f"CPU pool {name} has the domain {domains[0].name}",
                hint=f"wirt cpupool-migrate {domains[0].name} {POOL_0}",
            )
        await environment.cpu_pools.remove(name)
    await _done(environment, name, "destroyed")


async def add_cpus(environment: Environment, name: str, said: str) -> None:
    """Take CPUs from Pool-0."""
    topology = _topology(environment)
    async with environment.cpu_pools.lock:
        _check_not_0(environment, name)
        pools = environment.cpu_pools.all
        cpus = pools[name] | _free(environment, topology, said, name)
        _check(environment, topology, {**pools, name: cpus})
        await environment.cpu_pools.put(name, cpus)
    await _done(environment, name, "changed")


async def remove_cpus(environment: Environment, name: str, said: str) -> None:
    """Give CPUs back to Pool-0. The last one stays."""
    topology = _topology(environment)
    async with environment.cpu_pools.lock:
        _check_not_0(environment, name)
        pools, named = environment.cpu_pools.all, cpus_named(said, topology)
        if not named <= pools[name]:
            other = list_text(named - pools[name])
            raise BadInput(f"CPU pool {name} has not got {other}", hint=f"it has {list_text(pools[name])}")
        if named == pools[name]:
            raise ResourceBusy(f"these are all CPUs of pool {name}", hint=f"wirt cpupool-destroy {name}")
        _check(environment, topology, {**pools, name: pools[name] - named})
        await environment.cpu_pools.put(name, pools[name] - named)
    await _done(environment, name, "changed")


async def migrate(environment: Environment, ref: str, name: str) -> Domain:
    """Put a domain into a pool. One that runs goes there at once."""
    domain = guest(environment, ref)
    environment.cpu_pools.check(name)
    check_place(environment, replace(domain, config=replace(domain.config, pool=name)))
    return await change(environment, domain, {"pool": None if name == POOL_0 else name})


def _read(text: str, overrides: Sequence[str]) -> Mapping[str, str]:
    """Lists are joined by commas."""
    lines = [text]
    for each in overrides:
        key, equals, value = each.partition("=")
        if not equals:
            raise BadInput(f"what is {plain(each, 40)!r}?", hint='KEY=VALUE, as in name=fast cpus="2-3"')
        bare = not value.strip().startswith(('"', "'", "["))
        lines.append(f'{key} = "{value}"' if bare else each)
    found: dict[str, str] = {}
    for assignment in parse("\n".join(lines) + "\n", file="cpupool").assignments:
        if assignment.key not in ("name", "cpus", "sched", "nodes"):
            raise BadInput(f"a CPU pool has no {plain(assignment.key, 40)}", hint="name, cpus, nodes, sched")
        parts = (assignment.value,) if isinstance(assignment.value, Text) else assignment.value.items
        words = [part.value for part in parts if isinstance(part, Text)]
        nodes = assignment.key == "nodes"
        found["cpus" if nodes else assignment.key] = ",".join(f"node:{word}" if nodes else word for word in words)
    return found


def _free(environment: Environment, topology: Topology, said: str, name: str) -> frozenset[int]:
    """The named CPUs, all of which Pool-0 has, and not all that it has."""
    if not said:
        raise BadInput("which CPUs?", hint=f'cpus="2-3"; online are {list_text(topology.online)}')
    cpus = cpus_named(said, topology)
    for other, theirs in environment.cpu_pools.all.items():
        if other != name and cpus & theirs:
            raise ResourceBusy(
                f"CPU {list_text(cpus & theirs)} is in pool {other}",
                hint=f"wirt cpupool-cpu-remove {other} {list_text(cpus & theirs)}",
            )
    if not topology.online.difference(cpus, *environment.cpu_pools.all.values()):
        raise ResourceBusy(
            f"{POOL_0} would have no CPU left",
            hint="it has Domain-0, and whoever is in no other pool: leave it one",
        )
    return cpus


def _check(environment: Environment, topology: Topology, pools: Mapping[str, frozenset[int]]) -> None:
    for domain in environment.domains:
        if is_held(domain):
            check_load(replace(load_of(environment, [domain], topology), pools=pools), domain.name)


def _check_not_0(environment: Environment, name: str) -> None:
    if name == POOL_0:
        raise BadInput(
            f"{POOL_0} has whatever CPUs no other pool has",
            hint="wirt cpupool-cpu-add POOL CPU takes some from it, cpupool-cpu-remove gives them back",
        )
    environment.cpu_pools.check(name)


def _domains(environment: Environment, name: str) -> tuple[Domain, ...]:
    return tuple(domain for domain in environment.domains if pool_of(domain.config) == name)


def _topology(environment: Environment) -> Topology:
    topology = environment.scheduling.placement.topology()
    if topology is None:
        raise Unavailable("this host does not tell which CPUs it has")
    return topology


async def _done(environment: Environment, name: str, what: str) -> None:
    await lay(environment)
    environment.bus.publish(EVENT, None, None, {"name": name, "what": what})
