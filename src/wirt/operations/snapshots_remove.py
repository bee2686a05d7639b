"""``wirt snapshot delete``: what a snapshot kept is put together with what stands on it.

The volume that stands on a snapshot's is put into it and gives it its name: so as much is copied as was written
since, not the whole disk. From the moment in which that begins there is no way back to the snapshot, and its
record says so: a removal that fails there is finished by removing it again. A volume on which more than one stand
stays until one does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from wirt.model.domain import Domain
from wirt.model.errors import Shortage, WirtError
from wirt.model.job import Recovery
from wirt.model.lifecycle import State
from wirt.model.snapshots import KeptDisk, SnapshotTree
from wirt.model.storage import Volume, VolumeRef
from wirt.operations import backing
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.running import EnvContext, domain_of
from wirt.operations.snapshots_steps import (
    DiskWork,
    exchange,
    find,
    live,
    pool_of,
    release,
    remove_memory,
    reserve,
    run_of,
)
from wirt.operations.volumes_steps import image_tool
from wirt.plan.snapshots import plan_removal
from wirt.ports.live_disks import Settle
from wirt.ports.storage import Pool, Progress

log = structlog.get_logger()


def _tree(context: EnvContext) -> SnapshotTree:
    return context.environment.snapshots.of(domain_of(context).uuid)


async def _mark(context: EnvContext) -> None:
    snapshots, domain = context.environment.snapshots, domain_of(context)
    snapshot = snapshots.find(domain, context.job.arguments["name"])
    if not snapshot.leaving:
        await context.note(marked=True)
        leaving = replace(snapshot, leaving=True)
        await snapshots.change(domain.uuid, lambda tree: tree.changed(leaving))


async def _unmark(context: EnvContext) -> None:
    """Unless something has begun that can't be undone."""
    snapshot = _tree(context).get(context.job.arguments["name"])
    if snapshot is None or not context.job.notes.get("marked"):
        return
    whole = len(snapshot.disks) == len(context.job.arguments["disks"])
    if whole and not any(disk.into for disk in snapshot.disks):
        kept = replace(snapshot, leaving=False)
        await context.environment.snapshots.change(domain_of(context).uuid, lambda tree: tree.changed(kept))


async def _merge(context: EnvContext) -> None:
    """Disk by disk: each is out of the record once nothing is left of it. Then those that earlier removals had to
    leave."""
    snapshot = _tree(context).get(context.job.arguments["name"])
    own = snapshot.disks if snapshot is not None else ()
    for disk in (*own, *_tree(context).left):
        try:
            gone = await _remove(context, disk)
        except Shortage as error:
            raise _no_room(disk, error) from error
        if not gone and disk in own:
            await _change(context, lambda tree, name, disk=disk: tree.with_left(name, disk))  # type: ignore[misc]


def _no_room(disk: KeptDisk, error: Shortage) -> Shortage:
    pool = VolumeRef.parse(disk.kept).pool
    return Shortage(
        f"pool {pool} has no room to merge {disk.kept}: {error}",
        hint="nothing is lost; make room there (wirt pool list) and delete the snapshot again",
    )


async def _stop_merging(context: EnvContext) -> None:
    """What was put together stays so. An image may say already that it stands on one less."""
    environment = context.environment
    for volume in {disk.volume for disk in _tree(context).disks() if disk.into is not None}:
        await backing.lost_a_layer(environment, await environment.pools.volume(VolumeRef.parse(volume)))


async def _change(context: EnvContext, change: Callable[[SnapshotTree, str], SnapshotTree]) -> None:
    name = context.job.arguments["name"]
    await context.environment.snapshots.change(domain_of(context).uuid, lambda tree: change(tree, name))


async def _remove(context: EnvContext, disk: KeptDisk) -> bool:
    """Whether nothing is left of it, and the record says so. Repeating it is no harm."""
    work = DiskWork.of(disk)
    pool = await pool_of(context.environment, work)
    kept, into = await find(pool, work.kept.volume), disk.into
    if into is None and kept is not None:
        removal = plan_removal(kept.name, await pool.volumes()) if disk.layered else None
        if removal is not None and (removal.shared or not _ours(context, work, removal.into)):
            return False
        into = removal.into if removal is not None else None
        if into is None:
            await pool.remove(kept.name)
        else:
            begun = into
            await _change(
                context, lambda tree, name: tree.each_disk(disk.kept, lambda said: replace(said, into=begun))
            )
    if into is not None and into != work.volume.volume and kept is not None:
        await _take_place_of(context, pool, work, kept, into)
        return True
    if into is not None:
        await _give_place_to(context, pool, work, kept)
    await _change(context, lambda tree, name: tree.without_disk(name, disk.kept))
    return True


def _ours(context: EnvContext, work: DiskWork, volume: str | None) -> bool:
    """Whether what stands on a snapshot's volume is this domain's, and not a disk of a copy (``wirt fork``)."""
    named = {str(work.volume)} | {ref for disk in _tree(context).disks() for ref in (disk.kept, disk.volume)}
    return volume is None or str(VolumeRef(work.kept.pool, volume)) in named


async def _give_place_to(context: EnvContext, pool: Pool, work: DiskWork, kept: Volume | None) -> None:
    """What the guest writes now goes into ``kept``, which is the disk from then on."""
    environment, uuid = context.environment, domain_of(context).uuid

    async def settle() -> None:
        await environment.snapshots.change(
            uuid, lambda tree: tree.each_disk(str(work.kept), lambda said: replace(said, current=True))
        )

    if kept is not None and not _is_over(context, work):
        now = await pool.find(work.volume.volume)
        if run_of(context) is not None:
            await _pivot(context, work, now, kept, settle)
        else:
            await image_tool(environment).commit(now, _teller(context))
            await settle()
    await pool.remove(work.old)  # of one that could not clear up
    await exchange(environment, pool, work.volume.volume, work.kept.volume, work.old)
    await backing.changed(environment, await environment.pools.volume(work.volume))
    if context.job.arguments["domid"] is not None:
        await environment.pools.activate(work.volume)
    await pool.remove(work.old)


async def _pivot(context: EnvContext, work: DiskWork, now: Volume, kept: Volume, settle: Settle) -> None:
    environment, domain = context.environment, domain_of(context)
    if (await _chain(environment, domain, work))[:1] == (kept.path,):
        # A daemon died at that very moment, and the guest has stood still since.
        await settle()
    else:
        if context.job.notes.get("was") is None:
            await context.note(was=str(domain.state))
        try:
            await live(environment).merge(domain.uuid, work.vdev, now.path, _teller(context), settle)
        except WirtError as error:
            if not _is_over(context, work):
                raise
            # Names are all that is left to do, and a guest that ended a moment later needs them to start again.
            log.warning("a guest did not go on after a merge", domain=domain.name, error=str(error))
            return
    here = environment.domains.get(domain.uuid)
    if here is not None and here.state is State.PAUSED and context.job.notes.get("was") == State.RUNNING:
        # A daemon died while it stood still.
        await environment.hypervisor.resume(domain.uuid)
    await context.note(was=None)


def _is_over(context: EnvContext, work: DiskWork) -> bool:
    """Whether it is written down that the disk is in what the snapshot has kept."""
    return any(said.current for said in _tree(context).disks() if said.kept == str(work.kept))


async def _take_place_of(context: EnvContext, pool: Pool, work: DiskWork, kept: Volume, above: str) -> None:
    """The volume ``above``, of another snapshot, goes into ``kept``, which is that snapshot's from then on."""
    environment, domain = context.environment, domain_of(context)
    volume = await find(pool, above)
    if volume is not None:
        running = run_of(context) is not None
        if running and volume.path in await _chain(environment, domain, work):
            await live(environment).merge(domain.uuid, work.vdev, volume.path, _teller(context))
        else:
            await image_tool(environment).commit(volume, _teller(context))
        for each in await pool.volumes():
            if each.backing == above:
                await image_tool(environment).point(each, kept)
        await pool.remove(above)
    was, mine = str(VolumeRef(work.kept.pool, above)), str(work.kept)

    await _change(
        context,
        lambda tree, name: tree.without_disk(name, mine).each_disk(was, lambda said: replace(said, kept=mine)),
    )
    await backing.changed(environment, await environment.pools.volume(work.volume))


async def _chain(environment: Environment, domain: Domain, work: DiskWork) -> tuple[str, ...]:
    disks = await live(environment).disks(domain.uuid)
    return next((each.chain for each in disks if each.vdev == work.vdev), ())


def _teller(context: EnvContext) -> Progress:
    def tell(share: float) -> None:
        context.progress(f"merging: {share:.0%}", 0.2 + share * 0.7)

    return tell


async def _record(context: EnvContext) -> None:
    environment, domain = context.environment, domain_of(context)
    name = context.job.arguments["name"]
    snapshot = environment.snapshots.of(domain.uuid).get(name)
    await remove_memory(snapshot.memory if snapshot is not None else None)
    tree = await environment.snapshots.change(domain.uuid, lambda tree: tree.without(name))
    await release(context)
    await context.note(result={"snapshot": name, "left": [disk.kept for disk in tree.left]})
    environment.tell(domain, snapshot=name)


SNAPSHOT_DELETE = Operation(
    JobKind.SNAPSHOT_DELETE,
    (
        Step("reserve", reserve, release),
        Step("mark", _mark, _unmark),
        Step("merge", _merge, _stop_merging, interruptible=True),
        Step("record", _record, nothing_to_undo, final=True),
    ),
    recovery=Recovery.FINISH,
)
