"""Which share of the CPUs each run is to have, and the host held to that.

Everything here can be done again: what is recorded is compared with what is so. It is done when a run begins, when
somebody changes a domain's terms, and every few seconds, so that a new daemon finds nothing else than the old one
left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from wirt.model.domain import Domain, DomainConfig
from wirt.model.errors import IllegalState, WirtError
from wirt.model.lifecycle import State
from wirt.operations.placement import Distribution, Placement, place
from wirt.plan.launch import DEFAULT_WEIGHT
from wirt.plan.shares import (
    DEFAULT_DISK_WEIGHT,
    CreditTerms,
    Niceness,
    RealTimeTerms,
    check,
    check_real_time,
    nice,
    quota,
    real_time_quota,
    scale,
)
from wirt.ports.shares import Mechanism, RunShares, Shares
from wirt.ports.vcpu_threads import VcpuThreads

if TYPE_CHECKING:
    from wirt.operations.environment import Environment

log = structlog.get_logger()


@dataclass(slots=True)
class Scheduling:
    """``factor`` is the one that weights are scaled by now; ``problems`` by domain: why a run is not held to its
    terms; ``unweighed``: runs whose disks the kernel does not weigh. ``lock``: one pass over all runs after the
    other."""

    shares: Shares | None = None
    threads: VcpuThreads | None = None
    factor: float | None = None
    mechanisms: dict[UUID, Mechanism] = field(default_factory=dict)
    problems: dict[UUID, str] = field(default_factory=dict)
    unweighed: set[UUID] = field(default_factory=set)
    placement: Placement = field(default_factory=Placement)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


def credit_of(config: DomainConfig) -> CreditTerms:
    return CreditTerms(config.cpu_weight or DEFAULT_WEIGHT, config.cap or 0)


def real_time_of(config: DomainConfig) -> RealTimeTerms | None:
    """``None`` if nobody has given its vCPUs a budget."""
    if not config.budget_us:
        return None
    usual = RealTimeTerms()
    return RealTimeTerms(config.period_us or usual.period_us, config.budget_us, config.extratime)


def vcpus_of(config: DomainConfig) -> int:
    return config.maxvcpus or config.vcpus


def check_terms(config: DomainConfig) -> None:
    """``BadInput`` with the range that can be."""
    check(credit_of(config), vcpus_of(config))
    terms = real_time_of(config)
    if terms is not None:
        check_real_time(terms)


def is_held(domain: Domain) -> bool:
    """Whether it has a run with threads."""
    return domain.incarnation is not None and domain.state not in (State.OFF, State.STARTING)


def held_domains(environment: Environment) -> list[Domain]:
    """All that have a run with threads, each with what its class of service adds to it."""
    return [environment.qos_classes.of(domain) for domain in environment.domains if is_held(domain)]


async def lay_new(environment: Environment, uuid: UUID) -> None:
    """Hold a run that has just begun to its terms; all others too if its weight changes their scale. What goes
    wrong is told: it starts all the same."""
    scheduling = environment.scheduling
    domains = held_domains(environment)
    scaled = scale({str(d.uuid): credit_of(d.config).weight for d in domains}, scheduling.factor)
    alone = scaled.factor == scheduling.factor
    if alone and scheduling.shares is not None and scheduling.shares.mechanism is not Mechanism.NICE:
        await lay(environment, only=uuid)
    else:
        await lay(environment)


async def lay(environment: Environment, wanted: UUID | None = None, only: UUID | None = None) -> None:
    """Hold every run, or ``only`` one, to its terms. What goes wrong with one is told, and kept to be read; of
    ``wanted`` it is raised."""
    scheduling = environment.scheduling
    if scheduling.shares is None or scheduling.threads is None:
        return
    async with scheduling.lock:
        domains = held_domains(environment)
        scaled = scale({str(d.uuid): credit_of(d.config).weight for d in domains}, scheduling.factor)
        scheduling.factor = scaled.factor
        levels = niceness(environment) if only is None else {}
        failed: WirtError | None = None
        for domain in domains if only is None else [each for each in domains if each.uuid == only]:
            level = levels.get(domain.name, Niceness(0))
            terms = run_shares(domain.config, scaled.values[str(domain.uuid)], level.nice)
            await asyncio.sleep(0)  # others are served between two runs
            try:
                await _lay_one(environment, domain, terms, level.most_cpus)
            except WirtError as error:
                _tell(environment, domain, error)
                failed = error if domain.uuid == wanted else failed
            else:
                scheduling.problems.pop(domain.uuid, None)
        _forget(scheduling, {domain.uuid for domain in domains})
    if failed is not None:
        raise failed


def run_shares(config: DomainConfig, scaled: int, level: int) -> RunShares:
    credit, real_time = credit_of(config), real_time_of(config)
    each = None if real_time is None else real_time_quota(real_time)[0]
    return RunShares(credit.weight, scaled, level, quota(credit), each)


def niceness(environment: Environment) -> Mapping[str, Niceness]:
    """For hosts without control groups, of all domains that run, by name."""
    return nice({d.name: (credit_of(d.config), vcpus_of(d.config)) for d in held_domains(environment)})


async def _lay_one(environment: Environment, domain: Domain, terms: RunShares, most_cpus: int | None) -> None:
    """``most_cpus``: where no control group holds it."""
    scheduling = environment.scheduling
    assert scheduling.shares is not None and scheduling.threads is not None and domain.domid is not None
    try:
        threads = await scheduling.threads.of(domain.uuid)
    except IllegalState:
        return  # it has ended
    directory = environment.directory(domain.domid)
    by = scheduling.mechanisms[domain.uuid] = scheduling.shares.lay(directory, threads, terms)
    _weigh_disks(environment, domain, directory)
    place(environment, domain, threads, most_cpus if by is Mechanism.NICE else None)


def _weigh_disks(environment: Environment, domain: Domain, directory: Path) -> None:
    scheduling = environment.scheduling
    assert scheduling.shares is not None
    weighed = scheduling.shares.weigh_disks(directory, domain.config.disk_weight or DEFAULT_DISK_WEIGHT)
    (scheduling.unweighed.discard if weighed else scheduling.unweighed.add)(domain.uuid)


def _tell(environment: Environment, domain: Domain, error: WirtError) -> None:
    """Once, until it is another trouble."""
    problems, sentence = environment.scheduling.problems, str(error)
    if problems.get(domain.uuid) != sentence:
        problems[domain.uuid] = sentence
        log.warning("a run is not held to its share", domain=domain.name, error=sentence)
        environment.bus.publish("scheduling", domain.name, domain.uuid, {"what": "problem", "message": sentence})


def _forget(scheduling: Scheduling, there: set[UUID]) -> None:
    for kept in (scheduling.mechanisms, scheduling.problems):
        for uuid in kept.keys() - there:
            del kept[uuid]
    scheduling.unweighed &= there
    for key in [key for key in scheduling.placement.seats if key[0] not in there]:
        del scheduling.placement.seats[key]


def remarks(environment: Environment, domain: Domain) -> tuple[str, ...]:
    """What of its terms this host can't keep, or does not keep now."""
    scheduling, found = environment.scheduling, []
    if domain.uuid in scheduling.problems:
        found.append(scheduling.problems[domain.uuid])
    by_nice = scheduling.mechanisms.get(domain.uuid) is Mechanism.NICE
    real_time = real_time_of(domain.config)
    if by_nice and domain.name in (levels := niceness(environment)):
        found += levels[domain.name].remarks
    if real_time is not None:
        found += ("its budget needs a control group",) if by_nice else real_time_quota(real_time)[1]
    return (*found, *disk_remarks(environment, domain))


def disk_remarks(environment: Environment, domain: Domain) -> tuple[str, ...]:
    """Why the weight of its disks counts for nothing, if it has one and that is so."""
    scheduling = environment.scheduling
    weight = environment.qos_classes.effective(domain.config).disk_weight
    if weight is None or scheduling.shares is None:
        return ()
    kernel = scheduling.shares.disk_weights()
    if domain.uuid in scheduling.unweighed and kernel.kept:
        return (f"its disk weight of {weight} counts from its next start: it began without a group for it",)
    return () if kernel.counts else (f"its disk weight of {weight} counts for nothing now: {kernel.sentence}",)


def mechanism(environment: Environment) -> str:
    """For ``wirt info``."""
    shares, placement = environment.scheduling.shares, environment.scheduling.placement
    if shares is None:
        return ""
    kept = f"; no guest on the CPUs {placement.reserved}" if placement.reserved else ""
    return f"{shares.mechanism}: {shares.reason}; the distributor is {_MODES[placement.mode]}{kept}"


_MODES = {
    Distribution.OFF: "off",
    Distribution.ADVISING: "advising: wirt events shows what it would do",
    Distribution.ON: "on",
}


def notes(environment: Environment) -> list[str]:
    """For ``wirt info``: what becomes of weights of disks; what the machine does not tell of its CPUs, and what
    that means."""
    shares = environment.scheduling.shares
    found = [] if shares is None else [shares.disk_weights().sentence]
    try:
        topology = environment.scheduling.placement.topology()
    except WirtError as error:
        return [*found, str(error)]
    return found if topology is None else [*found, *topology.remarks]
