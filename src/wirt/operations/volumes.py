"""``wirt volume create``, ``resize``, ``clone`` and ``destroy``."""

from __future__ import annotations

from uuid import UUID

from wirt.model.devices import DiskFormat
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, IllegalState, ResourceBusy, Shortage
from wirt.model.job import Job, Recovery
from wirt.model.storage import Capability, Preallocation, Volume, VolumeRef
from wirt.model.units import MIB
from wirt.operations.backup_busy import check_no_backup
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.moving import settled
from wirt.operations.running import EnvContext
from wirt.operations.volumes_domain import check_nothing_stands_on
from wirt.operations.volumes_steps import (
    RELEASE,
    RESERVE,
    check_absent,
    check_can_create,
    check_free,
    check_nobodys,
    check_size,
    image_tool,
    owners,
    release,
    remove_made,
    remove_volumes,
    reserve,
    source_of,
    target_of,
    tell,
    there_already,
)
from wirt.ports.storage import NewVolume, Pool


async def create(
    environment: Environment,
    ref: VolumeRef,
    size: int,
    *,
    format_: DiskFormat | None = None,
    preallocation: Preallocation = Preallocation.OFF,
) -> Job:
    """What can be known to be wrong is raised now, before there is a job. ``size`` in bytes."""
    environment.pools.check_open_to_all(ref.pool)
    pool = await environment.pools.open(ref.pool)
    chosen = check_can_create(pool, format_)
    size = check_size(size)
    await check_absent(pool, ref.volume)
    await check_room(pool, size if preallocation is Preallocation.FULL else 0)
    arguments = {
        "target": str(ref),
        "new": True,
        "size": size,
        "format": str(chosen),
        "preallocation": str(preallocation),
    }
    return await environment.jobs.submit(JobKind.VOLUME_CREATE, subject(ref), arguments)


async def resize(environment: Environment, ref: VolumeRef, size: int, *, force: bool = False) -> Job:
    """Larger at any time, and a guest that runs sees it at once; smaller only when forced and off."""
    volume, size = await environment.pools.volume(ref), check_size(size)
    running = runner(environment, ref)
    if running is not None:
        settled(running)
    if size < volume.size:
        _check_shrink(ref, volume, size, running, force=force)
    pool = await environment.pools.open(ref.pool)
    if Capability.GROW not in pool.capabilities:
        raise BadInput(f"volumes of the {pool.config.type} pool {ref.pool} keep their size")
    if running is None:
        check_free(environment, ref, writes=True)
        await check_nothing_stands_on(environment, ref)
    elif environment.live_disks is None:
        raise IllegalState(
            f"volume {ref} is a disk of domain {running.name}, which runs, and can't be told of a new size",
            hint=f"wirt shutdown {running.name} first",
        )
    arguments: dict[str, object] = {"target": str(ref), "size": size, "before": volume.size}
    if running is not None:
        check_no_backup(environment, running)
        arguments["uuid"] = str(running.uuid)
    return await environment.jobs.submit(JobKind.VOLUME_RESIZE, subject(ref), arguments)


async def clone(environment: Environment, ref: VolumeRef, new: str) -> Job:
    pool = await environment.pools.open(ref.pool)
    environment.pools.check_open_to_all(ref.pool)
    target = VolumeRef.parse(f"{ref.pool}/{new}")
    if Capability.CLONE not in pool.capabilities:
        raise BadInput(f"{ref.pool} is a {pool.config.type} pool, which has no clones", hint="wirt volume copy")
    await pool.find(ref.volume)
    await check_absent(pool, new)
    check_free(environment, ref, writes=False)
    arguments = {"target": str(target), "source": str(ref), "new": True}
    return await environment.jobs.submit(JobKind.VOLUME_CLONE, subject(target), arguments)


async def destroy(environment: Environment, ref: VolumeRef) -> Job:
    pool = await environment.pools.open(ref.pool)
    await pool.find(ref.volume)
    check_free(environment, ref, writes=True)
    check_nobodys(environment, ref)
    if Capability.CREATE not in pool.capabilities:
        raise BadInput(
            f"{ref} is a device that was there before the {pool.config.type} pool, and stays",
            hint=f"wirt pool destroy {ref.pool} forgets the pool and leaves its devices as they are",
        )
    await _check_no_clones(pool, ref)
    return await environment.jobs.submit(JobKind.VOLUME_DESTROY, subject(ref), {"target": str(ref)})


def subject(ref: VolumeRef) -> str:
    return f"volume {ref}"


async def check_room(pool: Pool, size: int) -> None:
    """``Shortage`` with the numbers. Others may take it meanwhile, so the pool is asked again when it is taken."""
    usage = await pool.usage()
    if size > usage.available:
        raise Shortage(
            f"it needs {size // MIB} MiB, and pool {pool.config.name} has {usage.available // MIB} MiB left",
            hint="wirt pool list shows which pool has room",
        )


def runner(environment: Environment, ref: VolumeRef) -> Domain | None:
    """The domain that runs and has it open."""
    held = {holder.domain for holder in environment.pools.holders.of(ref)}
    runs = (domain for domain in owners(environment, ref) if domain.incarnation is not None)
    return next((domain for domain in runs if str(domain.uuid) in held), None)


def _check_shrink(ref: VolumeRef, volume: Volume, size: int, running: Domain | None, *, force: bool) -> None:
    what = f"volume {ref} has {volume.size // MIB} MiB; {size // MIB} MiB would cut off what is in the rest"
    if running is not None:
        raise IllegalState(
            f"{what}, and domain {running.name} runs on it", hint="a running guest's disk only grows"
        )
    if not force:
        raise IllegalState(what, hint="shrink what is in it first (resize2fs, say), then use --force")


async def _check_no_clones(pool: Pool, ref: VolumeRef) -> None:
    above = [volume.name for volume in await pool.volumes() if volume.backing == ref.volume]
    if above:
        raise ResourceBusy(
            f"{ref} is what {', '.join(above[:5])} stand on",
            hint="remove those first, or make them independent: wirt volume copy",
        )


async def _make(context: EnvContext) -> None:
    arguments, target = context.job.arguments, target_of(context)
    pool = await context.environment.pools.open(target.pool)
    wanted = NewVolume(
        name=target.volume,
        size=arguments["size"],
        format=DiskFormat(arguments["format"]),
        preallocation=Preallocation(arguments["preallocation"]),
    )
    await pool.create(wanted)


async def _clone(context: EnvContext) -> None:
    source, target = source_of(context), target_of(context)
    assert source is not None
    pool = await context.environment.pools.open(target.pool)
    if await there_already(context, pool) is None:
        await pool.clone(source.volume, target.volume)


async def _reserve_resize(context: EnvContext) -> None:
    """One that a running guest has stays the guest's."""
    if "uuid" not in context.job.arguments:
        await reserve(context)
    elif runner(context.environment, target_of(context)) is None:
        raise IllegalState(
            f"the domain that had volume {target_of(context)} has ended meanwhile", hint="try again"
        )


async def _resize(context: EnvContext) -> None:
    """Repeating it is no harm, and half of it is room that nobody sees: so it is finished, never taken back."""
    environment, target = context.environment, target_of(context)
    size, pool = context.job.arguments["size"], await environment.pools.open(target.pool)
    volume = await pool.find(target.volume)
    if "uuid" in context.job.arguments:
        await _resize_live(context, pool, size)
    elif size < volume.size:
        await image_tool(environment).resize(volume, size)
        await pool.shrink(target.volume, size)
    else:
        volume = await pool.grow(target.volume, size)
        if volume.size < size:
            await pool.activate(target.volume)
            await image_tool(environment).resize(volume, size)
            await pool.deactivate(target.volume)
    tell(environment, target, "resized")


def _ended(ref: VolumeRef) -> IllegalState:
    return IllegalState(f"the domain that had volume {ref} has ended meanwhile", hint="try again")


async def _resize_live(context: EnvContext, pool: Pool, size: int) -> None:
    environment, target = context.environment, target_of(context)
    domain = environment.domains.get(UUID(context.job.arguments["uuid"]))
    live = environment.live_disks
    if domain is None or domain.incarnation is None or live is None:
        raise _ended(target)
    await pool.grow(target.volume, size)
    for disk in domain.config.disks:
        if disk.volume == str(target):
            await live.resize(domain.uuid, disk.vdev, size)


async def _remove(context: EnvContext) -> None:
    environment, target = context.environment, target_of(context)
    check_nobodys(environment, target)
    await remove_volumes(environment, [target])


VOLUMES = (
    Operation(
        JobKind.VOLUME_CREATE,
        (RESERVE, Step("make", _make, remove_made), RELEASE),
        recovery=Recovery.UNDO,
    ),
    Operation(
        JobKind.VOLUME_CLONE,
        (RESERVE, Step("clone", _clone, remove_made), RELEASE),
        recovery=Recovery.UNDO,
    ),
    Operation(
        JobKind.VOLUME_RESIZE,
        (Step("reserve", _reserve_resize, release), Step("resize", _resize, nothing_to_undo), RELEASE),
        recovery=Recovery.FINISH,
    ),
    Operation(
        JobKind.VOLUME_DESTROY,
        (RESERVE, Step("remove", _remove, nothing_to_undo), RELEASE),
        recovery=Recovery.FINISH,
    ),
)
