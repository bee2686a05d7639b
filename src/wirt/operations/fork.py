"""``wirt fork``: running copies of a domain that runs, each with disks, a name and addresses of its own. All of
them or none.

It is a snapshot with memory, linked clones of what that kept, and a run of each clone that goes on from the one
file. The source stands still while its memory is written. What its disks held at that instant stays as a snapshot,
on which the copies stand; the memory goes once all of them run.

Arguments of the job: those of ``snapshot create`` and of ``clone``, ``paused``, and ``network``. Notes: those of
both, and ``runs``, by the copies' UUIDs what :mod:`~wirt.operations.running` notes of a run.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from wirt.model.devices import VifKind, devids
from wirt.model.domain import Domain, Wanted
from wirt.model.errors import IllegalState, Shortage
from wirt.model.job import Job, Recovery
from wirt.model.snapshots import KeptDisk
from wirt.model.storage import Holder, Volume, VolumeRef
from wirt.model.units import MIB
from wirt.operations import snapshots_steps
from wirt.operations.backing import remember_made
from wirt.operations.backup_busy import check_no_backup
from wirt.operations.clone import (
    chains_of,
    check_new_name,
    claim,
    define_clones,
    made_by,
    plans_of,
    remove_disks,
    undefine_clones,
    uuids,
    written,
)
from wirt.operations.environment import Environment
from wirt.operations.fork_runs import begin, begun_at, end
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.running import EnvContext, cpu_argument, domain_of, running
from wirt.operations.snapshots_steps import live, release, remove_memory
from wirt.operations.snapshots_take import TAKE_STEPS, settle, unsettle
from wirt.operations.snapshots_verbs import LIVE, check_settled, disks_to_keep
from wirt.operations.volumes_steps import check_absent, tell
from wirt.plan.clones import ClonePlan, CloneWish, Taken, clone_names, plan_clones
from wirt.ports.hypervisor import given_cpu

AT_ONCE = 4
"""Volumes that are made at the same time."""


class Cables(StrEnum):
    """Of the copies' cards on bridges, which have their source's addresses in the guest's memory."""

    NONE = "none"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class ForkWish:
    """``name``: what the copies are called, with a number each (``None``: as their source is)."""

    count: int = 1
    name: str | None = None
    network: Cables = Cables.NONE
    paused: bool = False


async def fork(environment: Environment, ref: str, wish: ForkWish) -> Job:
    """What can be known to be wrong is raised now, before there is a job."""
    source = _forkable(environment, ref)
    names = clone_names(wish.name or source.name, wish.count)
    for name in names:
        check_new_name(environment, name)
    _check_memory(environment, source, len(names))
    snapshot = _snapshot_name(environment, source)
    kept = await disks_to_keep(environment, source, snapshot)
    plans = plan_clones(
        source,
        CloneWish(names, identity=False, alone=_alone(source)),
        Taken.by(list(environment.domains)),
        uuids(environment),
    )
    plans = tuple(_standing_on(plan, kept) for plan in plans)
    for plan in plans:
        for disk in plan.disks:
            await check_absent(await environment.pools.open(disk.target.pool), disk.target.volume)
    arguments: dict[str, Any] = {
        "uuid": str(source.uuid),
        "domid": source.domid,
        "name": snapshot,
        "disks": snapshots_steps.written(kept),
        "memory": True,
        "description": f"what {names[0]}{' and others' if len(names) > 1 else ''} stands on",
        "clones": [written(plan) for plan in plans],
        "network": str(wish.network),
        "paused": wish.paused,
        "cpu": await _cpu(environment, source),
    }
    return await environment.jobs.submit(JobKind.FORK, source.name, arguments)


def _forkable(environment: Environment, ref: str) -> Domain:
    source = running(environment.domains.find(ref))
    if source.state not in LIVE:
        raise IllegalState(
            f"domain {source.name} is {source.state}", hint="only what runs or is paused has running copies"
        )
    if not source.persistent:
        raise IllegalState(
            f"domain {source.name} is forgotten when it ends, and what its copies stand on would be left behind",
            hint="make it one that stays: wirt shutdown it, then wirt define FILE and wirt start",
        )
    live(environment)
    check_settled(source, environment.snapshots.of(source.uuid))
    check_no_backup(environment, source)
    return source


async def _cpu(environment: Environment, source: Domain) -> dict[str, object]:
    """What the guest has, which its copies go on with."""
    assert source.incarnation is not None
    plan = await environment.plan(source, source.incarnation.domid, running=True)
    return cpu_argument(given_cpu(source.incarnation, plan.cpu_model))


def _alone(source: Domain) -> frozenset[int]:
    """The cards, by devid, that have a network for themselves. Their address may stay, and has to: the guest goes
    on with it, and their network would look for another."""
    notes = source.incarnation.notes if source.incarnation is not None else {}
    cards = devids(source.config.vifs)
    return frozenset(devid for devid in cards if notes.get(f"kind.{devid}") == VifKind.USER)


def _check_memory(environment: Environment, source: Domain, count: int) -> None:
    """Of all copies together: each by itself would find what the others are about to take."""
    facts = environment.host_facts()
    free = max(0, facts.memory_available_bytes - facts.reserve_bytes) // MIB
    if count * source.config.most_mib > free:
        asked = count * source.config.most_mib
        raise Shortage(
            f"{count} copies of {source.name} ask for {asked} MiB and {free} MiB are free",
            hint="make fewer, or shut another domain down",
        )


def _snapshot_name(environment: Environment, source: Domain) -> str:
    tree, number = environment.snapshots.of(source.uuid), 1
    while tree.get(f"fork-{number}") is not None:
        number += 1
    return f"fork-{number}"


def _standing_on(plan: ClonePlan, kept: tuple[KeptDisk, ...]) -> ClonePlan:
    """Its disks begin as the snapshot keeps them, not as the source's are by then."""
    below = {VolumeRef.parse(disk.volume): VolumeRef.parse(disk.kept) for disk in kept}
    return replace(plan, disks=tuple(replace(disk, source=below[disk.source]) for disk in plan.disks))


async def _reserve(context: EnvContext) -> None:
    """The names of the new volumes are this job's; the source's disks stay its run's."""
    environment = context.environment
    await snapshots_steps.reserve(context)
    mine = Holder(environment.pools.holders.host, job=context.job.id)
    await claim(environment, dict.fromkeys(made_by(context), mine))
    for ref in made_by(context):
        await check_absent(await environment.pools.open(ref.pool), ref.volume)
    await context.note(absent=True)


async def _clone(context: EnvContext) -> None:
    environment, free = context.environment, asyncio.Semaphore(AT_ONCE)

    async def make(source: VolumeRef, target: VolumeRef) -> Volume:
        async with free:
            return await (await environment.pools.open(target.pool)).clone(source.volume, target.volume)

    disks = [disk for plan in plans_of(context) for disk in plan.disks]
    # None is cut in two by another's failure.
    made = await asyncio.gather(*(make(disk.source, disk.target) for disk in disks), return_exceptions=True)
    for each in made:
        if isinstance(each, BaseException):
            raise each
    volumes = [each for each in made if isinstance(each, Volume)]
    await remember_made(environment, await chains_of(environment, volumes))


async def _define(context: EnvContext) -> None:
    """Whoever runs with the volumes takes them."""
    await release(context)
    await define_clones(context)


async def _finish(context: EnvContext) -> None:
    """The copies are there to stay, and the memory has done its work. Without disks nothing is left of the
    snapshot."""
    environment, domain, arguments = context.environment, domain_of(context), context.job.arguments
    for plan in plans_of(context):
        if environment.domains.get(plan.uuid) is not None:
            await environment.domains.change(plan.uuid, wanted=Wanted.ON)
    name = arguments["name"]
    kept = environment.snapshots.of(domain.uuid).get(name)
    if kept is not None:
        without = replace(kept, memory=None)
        await environment.snapshots.change(
            domain.uuid, lambda tree: tree.changed(without) if kept.disks else tree.without(name)
        )
    await remove_memory(context.job.notes.get("memory"))
    lost = list(dict.fromkeys(word for plan in plans_of(context) for word in plan.lost))
    await context.note(
        result={
            "source": domain.name,
            "stood_still_s": context.job.notes.get("stood_still_s"),
            "domains": [
                {"name": plan.name, "uuid": str(plan.uuid), "after_s": begun_at(context, plan)}
                for plan in plans_of(context)
            ],
            "snapshot": name if kept is not None and kept.disks else None,
            "cables": arguments["network"],
            "lost": lost,
        }
    )
    for ref in made_by(context):
        tell(environment, ref, "created")


FORK = Operation(
    JobKind.FORK,
    (
        Step("reserve", _reserve, release),
        *TAKE_STEPS,
        Step("settle", settle, unsettle),
        Step("clone", _clone, remove_disks),
        Step("define", _define, undefine_clones),
        Step("begin", begin, end),
        Step("release", _finish, nothing_to_undo, final=True),
    ),
    recovery=Recovery.UNDO,
)
