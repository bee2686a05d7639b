"""``wirt snapshot create``: the disks of a domain as they are at one instant, and its memory.

Where images stand on others, a new one is made for each disk; at the instant the guest goes on in all of them, and
then the names change: the volume that was is called by the snapshot, the new one by the disk. Where volumes share
blocks, copies are made while the guest stands still. A crash before the names have changed takes the snapshot
anew; afterwards it is finished.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wirt.model.cpu import GivenCpu
from wirt.model.domain import Domain
from wirt.model.errors import IllegalState, NameInUse
from wirt.model.job import Recovery
from wirt.model.lifecycle import State
from wirt.model.snapshots import Snapshot
from wirt.model.storage import Volume
from wirt.operations import backing
from wirt.operations.engines import engine_of_layer
from wirt.operations.environment import Environment
from wirt.operations.given_memory import GIVEN, argument, noted, of_job
from wirt.operations.jobs.step import JobKind, Operation, Step
from wirt.operations.present import VCPUS, vcpus_of_run
from wirt.operations.quiet import quiet, thaw
from wirt.operations.running import EnvContext, domain_of
from wirt.operations.snapshots_steps import (
    DiskWork,
    disks_of,
    exchange,
    exchange_back,
    find,
    live,
    make_memory_directory,
    pool_of,
    release,
    remove_memory,
    reserve,
    run_of,
)
from wirt.operations.volumes_steps import image_tool
from wirt.ports.hypervisor import given_cpu


async def _stage(context: EnvContext) -> None:
    """The new images, empty. What a daemon that died here had made is made again, unless a guest writes it."""
    environment = context.environment
    if context.repeated:
        await _unstage(context)
    for disk in disks_of(context):
        pool = await pool_of(environment, disk)
        if await find(pool, disk.kept.volume) is not None:
            raise NameInUse(f"there is a volume {disk.kept} already", hint="choose another name for the snapshot")
        if disk.layered:
            await pool.layer(disk.new, disk.kept.volume, now=disk.volume.volume)


async def _unstage(context: EnvContext) -> None:
    for disk in _layered(context):
        if disk.vdev in context.job.notes.get("switched", ()):
            raise IllegalState(f"the guest writes {disk.new}, which could not be put back into {disk.volume}")
        await (await pool_of(context.environment, disk)).remove(disk.new)


async def _take(context: EnvContext) -> None:
    """The instant. Repeated after a crash, what that left is taken back first."""
    environment = context.environment
    if context.repeated:
        await _take_back(context)
        await _unstage(context)
        for disk in _layered(context):
            pool = await pool_of(environment, disk)
            await pool.layer(disk.new, disk.kept.volume, now=disk.volume.volume)
    domain = run_of(context)
    if domain is None:
        if context.job.arguments["domid"] is not None:
            raise IllegalState(f"domain {context.job.subject} has ended meanwhile", hint="try again")
        await _copy(context)
        return
    if "was" not in context.job.notes:
        await context.note(was=str(domain.state))
    async with _still(context, domain):
        await _switch(context, domain)
        await _copy(context)
        if context.job.arguments["memory"]:
            await _save_memory(context, domain)


@asynccontextmanager
async def _still(context: EnvContext, domain: Domain) -> AsyncIterator[None]:
    """The guest's file systems are written out, if it can do that; it stands still where an instant takes time."""
    environment, disks = context.environment, disks_of(context)
    takes_time = context.job.arguments["memory"] or any(not disk.layered for disk in disks)
    # A daemon that died may have left it standing still.
    running = context.job.notes["was"] == State.RUNNING
    wanted = running and not context.job.arguments["memory"]
    await context.note(quiesced=wanted)
    async with quiet(environment, domain, wanted=wanted) as hold:
        since = environment.clock.monotonic()
        try:
            if running and takes_time:
                await environment.hypervisor.pause(domain.uuid)
            yield
        finally:
            if running and takes_time:
                await environment.hypervisor.resume(domain.uuid)
        stood_still_s = environment.clock.monotonic() - since if running and takes_time else 0.0
    await context.note(quiesced=hold.held, stood_still_s=round(stood_still_s, 3))


async def _switch(context: EnvContext, domain: Domain) -> None:
    environment, layered = context.environment, _layered(context)
    if layered:
        overlays = {disk.vdev: await _new(environment, disk) for disk in layered}
        engines = {vdev: await engine_of_layer(environment, domain, vdev, new) for vdev, new in overlays.items()}
        # Before it is true, so that nothing that a guest may have written is ever thrown away.
        await context.note(switched=list(overlays))
        await live(environment).snapshot(domain.uuid, overlays, engines)


async def _copy(context: EnvContext) -> None:
    for disk in disks_of(context):
        if not disk.layered:
            pool = await pool_of(context.environment, disk)
            await pool.remove(disk.kept.volume)  # of a daemon that died here
            await pool.snapshot(disk.volume.volume, disk.kept.volume)


async def _save_memory(context: EnvContext, domain: Domain) -> None:
    environment = context.environment
    path = await make_memory_directory(environment, domain) / f"{context.job.arguments['name']}.memory"
    assert domain.incarnation is not None
    had = {GIVEN: argument(noted(domain.incarnation.notes)), VCPUS: await vcpus_of_run(environment, domain)}
    await context.note(memory=str(path), **had)

    def tell(share: float) -> None:
        context.progress(f"saving memory: {share:.0%}", 0.3 + share * 0.6)

    await live(environment).save_memory(domain.uuid, path, tell)


async def _take_back(context: EnvContext) -> None:
    """What the guest wrote into the new images is put into the volumes that it had, and it writes those again. It
    runs first: a QEMU that has written a guest's memory to its end lets nobody change the disks until then."""
    environment, domain = context.environment, run_of(context)
    if domain is not None and domain.state is State.PAUSED and context.job.notes.get("was") == State.RUNNING:
        await environment.hypervisor.resume(domain.uuid)
    for disk in _layered(context):
        if disk.vdev in context.job.notes.get("switched", ()):
            if domain is not None:
                await _merge_live(environment, domain, disk)
            else:
                await _merge_off(environment, disk)
    if context.job.notes.get("switched"):
        await context.note(switched=[])
    for disk in disks_of(context):
        if not disk.layered:
            await (await pool_of(environment, disk)).remove(disk.kept.volume)
    await remove_memory(context.job.notes.get("memory"))
    if domain is not None and context.job.notes.get("quiesced"):
        await thaw(environment, domain)


async def _merge_live(environment: Environment, domain: Domain, disk: DiskWork) -> None:
    new = await _new(environment, disk)
    for each in await live(environment).disks(domain.uuid):
        if each.vdev == disk.vdev and each.chain[0] == new.path:
            await live(environment).merge(domain.uuid, disk.vdev, new.path, lambda share: None)


async def _merge_off(environment: Environment, disk: DiskWork) -> None:
    """The run has ended in between; the new image names as below it what was never called so."""
    pool = await pool_of(environment, disk)
    new, before = await find(pool, disk.new), await find(pool, disk.volume.volume)
    if new is not None and before is not None:
        await image_tool(environment).point(new, before)
        await image_tool(environment).commit(await pool.find(disk.new), lambda share: None)


async def settle(context: EnvContext) -> None:
    """The names, and the record. Whoever has a file open has the file."""
    for disk in _layered(context):
        pool = await pool_of(context.environment, disk)
        await exchange(context.environment, pool, disk.volume.volume, disk.new, disk.kept.volume)
    await _tell_images(context)
    snapshot = _snapshot(context)
    await context.environment.snapshots.change(
        domain_of(context).uuid,
        lambda tree: tree if tree.get(snapshot.name) is not None else tree.with_new(snapshot),
    )


async def unsettle(context: EnvContext) -> None:
    name = context.job.arguments["name"]
    await context.environment.snapshots.change(domain_of(context).uuid, lambda tree: tree.without(name))
    for disk in _layered(context):
        pool = await pool_of(context.environment, disk)
        await exchange_back(context.environment, pool, disk.volume.volume, disk.new, disk.kept.volume)
    await _tell_images(context)


async def _tell_images(context: EnvContext) -> None:
    """What the images under the disks' names stand on now, and where they are."""
    environment = context.environment
    for disk in _layered(context):
        await backing.changed(environment, await environment.pools.volume(disk.volume))
        if run_of(context) is not None:
            await environment.pools.activate(disk.volume)


def _snapshot(context: EnvContext) -> Snapshot:
    environment, domain = context.environment, domain_of(context)
    arguments, notes = context.job.arguments, context.job.notes
    given = of_job(notes)
    return Snapshot(
        name=arguments["name"],
        created_at=environment.clock.now(),
        parent=environment.snapshots.of(domain.uuid).head,
        disks=tuple(disk.said() for disk in disks_of(context)),
        text=domain.text,
        description=arguments["description"],
        memory=notes.get("memory"),
        paused=notes.get("was") == State.PAUSED,
        padding_kib=None if given is None else given.padding_kib,
        memory_mib=None if given is None else given.mib,
        reporting=given is not None and given.reporting,
        hotplug_mib=0 if given is None else given.hotplug_mib,
        vcpus=notes.get(VCPUS),
        cpu=_cpu(domain) if notes.get("memory") is not None else None,
    )


def _cpu(domain: Domain) -> GivenCpu | None:
    given = given_cpu(domain.incarnation, "") if domain.incarnation is not None else None
    return given if given is not None and given.features else None


async def _finish(context: EnvContext) -> None:
    name = context.job.arguments["name"]
    await release(context)
    arguments, notes = context.job.arguments, context.job.notes
    ran = notes.get("was") == State.RUNNING and not arguments["memory"]
    await context.note(result={"snapshot": name, "quiesced": bool(notes.get("quiesced")) if ran else None})
    context.environment.tell(domain_of(context), snapshot=name)


async def _new(environment: Environment, disk: DiskWork) -> Volume:
    return await (await pool_of(environment, disk)).find(disk.new)


def _layered(context: EnvContext) -> list[DiskWork]:
    return [disk for disk in disks_of(context) if disk.layered]


TAKE_STEPS = (Step("stage", _stage, _unstage), Step("take", _take, _take_back, interruptible=True))

SNAPSHOT_CREATE = Operation(
    JobKind.SNAPSHOT_CREATE,
    (
        Step("reserve", reserve, release),
        *TAKE_STEPS,
        Step("settle", settle, unsettle, final=True),
        Step("release", _finish, release),
    ),
    recovery=Recovery.FINISH,
)
