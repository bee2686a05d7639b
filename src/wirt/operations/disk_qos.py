"""``wirt disk-qos``: how much a domain may ask of its disks, kept in its configuration and in force at once.

The guest's disks are limited first, then it is written down: a start, a restoration or a move takes the limits
from the configuration, so whoever dies in between leaves a guest that the next daemon limits anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from wirt.config.xlcfg import with_qos
from wirt.config.xlcfg.diskqos import read_words, with_words, words_of
from wirt.model.diskqos import UNLIMITED, DiskQos, beyond, in_force
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, IllegalState, NotFound, Unavailable
from wirt.model.job import Job, Recovery
from wirt.model.lifecycle import State
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step
from wirt.operations.rewritten import rewritten
from wirt.operations.running import EnvContext, domain_of
from wirt.ports.live_disks import LiveDisks

LIVE = (State.RUNNING, State.PAUSED)


@dataclass(frozen=True, slots=True)
class LimitedDisk:
    """``own`` as its entry says, ``of_class`` what the domain's class of service adds to what it and its group
    say; ``now`` is what the hypervisor holds it to, ``None`` of a domain that is off."""

    vdev: str
    own: DiskQos
    now: DiskQos | None
    of_class: DiskQos = UNLIMITED


async def limits(environment: Environment, ref: str) -> tuple[LimitedDisk, ...]:
    """Of all disks of a domain that can be limited."""
    domain = environment.domains.find(ref)
    now: Mapping[str, DiskQos] = {}
    if domain.state in LIVE and environment.live_disks is not None:
        now = await environment.live_disks.throttles(domain.uuid)
    meant = _in_force(environment, domain)
    own = in_force((disk.vdev, disk.qos) for disk in domain.config.disks)
    return tuple(
        LimitedDisk(disk.vdev, disk.qos, now.get(disk.vdev), beyond(meant[disk.vdev], own[disk.vdev]))
        for disk in domain.config.disks
        if not disk.cdrom
    )


async def limit(
    environment: Environment, ref: str, vdev: str, words: Mapping[str, str], *, anew: bool = False
) -> Job:
    """``words`` as in the configuration, 0 takes a limit away. ``anew``: nothing of what holds now is kept.
    What can't be is raised now, before there is a job."""
    domain = environment.domains.find(ref)
    if not words and not anew:
        raise BadInput("there is nothing to change", hint="as in --iops 100 or --bps 10M; wirt disk-qos --help")
    if domain.incarnation is not None:
        if domain.state not in LIVE:
            hint = f"wirt destroy {domain.name} ends it"
            raise IllegalState(f"domain {domain.name} is {domain.state}", hint=hint)
        _live(environment)
    _after(domain, vdev, words, anew=anew)
    arguments = {
        "uuid": str(domain.uuid),
        "domid": domain.domid,
        "vdev": vdev,
        "words": dict(words),
        "anew": anew,
    }
    return await environment.jobs.submit(JobKind.DISK_QOS, domain.name, arguments)


def _live(environment: Environment) -> LiveDisks:
    if environment.live_disks is None:
        raise Unavailable("disks of running guests can't be limited on this host")
    return environment.live_disks


def _after(domain: Domain, vdev: str, words: Mapping[str, str], *, anew: bool) -> Domain:
    """The domain with the other limits, not yet written."""
    disk = next((disk for disk in domain.config.disks if disk.vdev == vdev), None)
    if disk is None:
        known = ", ".join(disk.vdev for disk in domain.config.disks if not disk.cdrom) or "none"
        raise NotFound(f"domain {domain.name} has no disk {vdev}", hint=f"it has {known}")
    if disk.cdrom:
        raise BadInput(f"{vdev} of domain {domain.name} is a cdrom, and those are not limited")
    qos = with_words(UNLIMITED if anew else disk.qos, words)
    return _limited(domain, vdev, qos)


def _limited(domain: Domain, vdev: str, qos: DiskQos) -> Domain:
    disks = tuple(replace(disk, qos=qos) if disk.vdev == vdev else disk for disk in domain.config.disks)
    in_force((disk.vdev, disk.qos) for disk in disks)
    text = with_qos(domain.text, vdev, qos)
    return rewritten(domain, text, replace(domain.config, disks=disks), f"the entry of disk {vdev}")


def _meant(context: EnvContext) -> Domain:
    arguments = context.job.arguments
    return _after(domain_of(context), arguments["vdev"], arguments["words"], anew=arguments["anew"])


async def _throttle(context: EnvContext) -> None:
    domain = domain_of(context)
    if domain.domid != context.job.arguments["domid"]:
        raise IllegalState(f"domain {domain.name} is {domain.state} by now", hint="look at it, and ask again")
    if domain.incarnation is not None:
        async with context.environment.qos_classes.holding(domain.uuid):
            await _apply(context.environment, _meant(context), domain)


async def _throttle_as_before(context: EnvContext) -> None:
    domain = domain_of(context)
    if domain.incarnation is not None and domain.domid == context.job.arguments["domid"]:
        async with context.environment.qos_classes.holding(domain.uuid):
            await _apply(context.environment, domain, None)


async def _apply(environment: Environment, domain: Domain, before: Domain | None) -> None:
    """What the configuration of ``domain`` says holds; only what differs from ``before`` is said to QEMU. The
    disks that leave a group come before those that stay: QEMU keeps a group's limits with the group."""
    limits = _in_force(environment, domain)
    if before is not None:
        known = _in_force(environment, before)
        limits = {vdev: qos for vdev, qos in limits.items() if qos != known[vdev]}
    ordered = dict(sorted(limits.items(), key=lambda item: item[1].group is not None))
    if ordered:
        await _live(environment).throttle(domain.uuid, ordered)


def _in_force(environment: Environment, domain: Domain) -> dict[str, DiskQos]:
    disks = environment.qos_classes.effective(domain.config).disks
    return in_force((disk.vdev, disk.qos) for disk in disks if not disk.cdrom)


async def hold_disks(environment: Environment, uuid: UUID) -> None:
    """Have the disks of a domain that runs held to what is written down of it and of its class of service. One
    that has no run, or has ended, is no error. To be called with the domain's lock
    (:meth:`~wirt.operations.qos_classes.QosClasses.holding`)."""
    domain = environment.domains.get(uuid)
    if domain is None or domain.state not in LIVE or not domain.config.disks:
        return
    now = await _live(environment).throttles(uuid)
    wanted = {vdev: qos for vdev, qos in _in_force(environment, domain).items() if vdev in now}
    if any(now[vdev].own != qos.own for vdev, qos in wanted.items()):
        await _live(environment).throttle(uuid, dict(sorted(wanted.items(), key=lambda item: bool(item[1].group))))


async def _record(context: EnvContext) -> None:
    environment, domain = context.environment, domain_of(context)
    vdev = context.job.arguments["vdev"]
    if "before" not in context.job.notes:
        own = next(disk.qos for disk in domain.config.disks if disk.vdev == vdev)
        await context.note(before=words_of(own))
    meant = _meant(context)
    changed = await environment.domains.change(domain.uuid, config=meant.config, text=meant.text)
    if changed.config.qos is not None:  # its class may have been changed since the first step
        async with environment.qos_classes.holding(domain.uuid):
            await hold_disks(environment, domain.uuid)
    environment.tell(changed, change="disk-qos", vdev=vdev)


async def _record_as_before(context: EnvContext) -> None:
    before = context.job.notes.get("before")
    if before is not None:
        environment, domain = context.environment, domain_of(context)
        was = _limited(domain, context.job.arguments["vdev"], read_words(before))
        await environment.domains.change(domain.uuid, config=was.config, text=was.text)


DISK_QOS = Operation(
    JobKind.DISK_QOS,
    (Step("throttle", _throttle, _throttle_as_before), Step("record", _record, _record_as_before)),
    recovery=Recovery.FINISH,
)
