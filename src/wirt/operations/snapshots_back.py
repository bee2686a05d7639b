"""``wirt snapshot revert``: a domain that is off gets the disks of a snapshot; with its memory it goes on from
there."""

from __future__ import annotations

from pathlib import PurePosixPath

from wirt.config.xlcfg import load
from wirt.model.job import Recovery
from wirt.operations import backing
from wirt.operations.create import WANT_ON
from wirt.operations.jobs.step import JobKind, Operation, Step
from wirt.operations.running import START_STEPS, EnvContext, domain_of
from wirt.operations.snapshots_steps import (
    disks_of,
    exchange,
    exchange_back,
    pool_of,
    release,
    reserve,
)


async def _stage(context: EnvContext) -> None:
    """What is to take the place of each disk. What a daemon that died here had made is made again."""
    await _unstage(context)
    for disk in disks_of(context):
        pool = await pool_of(context.environment, disk)
        await pool.remove(disk.old)  # of one that could not clear up
        if disk.layered:
            await pool.layer(disk.new, disk.kept.volume)
        else:
            await pool.snapshot(disk.kept.volume, disk.new)


async def _unstage(context: EnvContext) -> None:
    for disk in disks_of(context):
        await (await pool_of(context.environment, disk)).remove(disk.new)


async def _switch(context: EnvContext) -> None:
    """The disks stand on the snapshot from here on. Its configuration comes back with its memory only, since a
    guest that goes on needs the devices that it had."""
    environment, domain = context.environment, domain_of(context)
    snapshot = environment.snapshots.find(domain, context.job.arguments["name"])
    if not context.repeated:
        await context.note(head=environment.snapshots.of(domain.uuid).head, text=domain.text)
    for disk in disks_of(context):
        pool = await pool_of(environment, disk)
        await exchange(environment, pool, disk.volume.volume, disk.new, disk.old)
    await _tell_images(context)
    if context.job.arguments.get("memory") is not None:
        await _configure(context, snapshot.text)
    await environment.snapshots.change(domain.uuid, lambda tree: tree.at(snapshot.name))


async def _switch_back(context: EnvContext) -> None:
    environment, uuid = context.environment, domain_of(context).uuid
    for disk in disks_of(context):
        pool = await pool_of(environment, disk)
        await exchange_back(environment, pool, disk.volume.volume, disk.new, disk.old)
    await _tell_images(context)
    if "head" in context.job.notes:
        head, text = context.job.notes["head"], context.job.notes["text"]
        await environment.snapshots.change(uuid, lambda tree: tree.at(head))
        if context.job.arguments.get("memory") is not None:
            await _configure(context, text)


async def _configure(context: EnvContext, text: str) -> None:
    """Its name and UUID stay what they are."""
    environment, domain = context.environment, domain_of(context)
    text = environment.rename_in_text(text, domain.name)
    loaded = load(text, file=domain.name, cwd=PurePosixPath("/"))
    await environment.domains.change(domain.uuid, config=loaded.config, text=loaded.text)


async def _tell_images(context: EnvContext) -> None:
    environment = context.environment
    for disk in disks_of(context):
        await backing.changed(environment, await environment.pools.volume(disk.volume))


async def _clear(context: EnvContext) -> None:
    """What the disks held, which nobody asked to keep."""
    for disk in disks_of(context):
        await (await pool_of(context.environment, disk)).remove(disk.old)
    await release(context)
    await context.note(result={"snapshot": context.job.arguments["name"]})
    context.environment.tell(domain_of(context), snapshot=context.job.arguments["name"])


_DISKS = (
    Step("reserve", reserve, release),
    Step("stage", _stage, _unstage),
    Step("switch", _switch, _switch_back, final=True),
    Step("clear", _clear, release),
)

REVERTS = (
    Operation(JobKind.SNAPSHOT_REVERT, _DISKS, recovery=Recovery.FINISH),
    Operation(JobKind.SNAPSHOT_RESUME, (*_DISKS, WANT_ON, *START_STEPS), recovery=Recovery.FINISH),
)
