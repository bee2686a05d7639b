"""``wirt pool create``, ``refresh`` and ``destroy``."""

from __future__ import annotations

from dataclasses import dataclass

from wirt.model.errors import BadInput, IllegalState, NameInUse, NotFound, ResourceBusy, WirtError
from wirt.model.job import Job, Recovery
from wirt.model.storage import (
    PoolConfig,
    PoolUsage,
    StoragePool,
    Volume,
    VolumeRef,
    check_pool_name,
)
from wirt.operations import records
from wirt.operations.backing import forget_removed
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.running import EnvContext
from wirt.operations.volumes_domain import release_forgotten
from wirt.operations.volumes_steps import images_of


@dataclass(frozen=True, slots=True)
class Refreshed:
    """``tidied`` is what interrupted work had left, a sentence each."""

    usage: PoolUsage
    volumes: tuple[Volume, ...]
    tidied: tuple[str, ...]


async def create(environment: Environment, config: PoolConfig) -> Job:
    """What can be known to be wrong is raised now, before there is a job."""
    check_pool_name(config.name)
    _check_apart(environment, config)
    reason = environment.pools.storage.reason(config.type)
    if reason is not None:
        able = ", ".join(environment.pools.storage.types())
        raise BadInput(f"this host can't have {config.type} pools: {reason}", hint=f"it can have: {able}")
    arguments = {"pool": config.name, "config": records.pool_values(config)}
    return await environment.jobs.submit(JobKind.POOL_CREATE, f"pool {config.name}", arguments)


async def refresh(environment: Environment, name: str) -> Refreshed:
    """Look at the pool anew, as if the daemon had just started, and tidy it. While volumes of it are in use
    nothing is let go of."""
    environment.pools.find(name)
    await release_forgotten(environment)
    if not environment.pools.holders.in_pool(name):
        await environment.pools.close(name)
    pool = await environment.pools.open(name)
    tidied = () if environment.pools.holders.in_pool(name) else await pool.tidy()
    return Refreshed(await pool.usage(), await pool.volumes(), tidied)


async def destroy(environment: Environment, name: str, *, delete_volumes: bool = False) -> Job:
    """``IllegalState`` or ``ResourceBusy`` while volumes of it are in use or belong to domains."""
    if environment.pools.get(name) is None:
        environment.pools.find(name)
        raise BadInput(
            f"the pool {name} is not destroyed: it is there when it is needed",
            hint=f"wirt volume list {name} shows what is in it",
        )
    _check_unused(environment, name)
    arguments = {"pool": name, "delete-volumes": delete_volumes}
    return await environment.jobs.submit(JobKind.POOL_DESTROY, f"pool {name}", arguments)


def _check_apart(environment: Environment, config: PoolConfig) -> None:
    if environment.pools.get(config.name) is not None:
        raise NameInUse(
            f"there is a storage pool {config.name} already", hint=f"wirt pool info {config.name} shows it"
        )
    for other in environment.pools:
        same = (other.config.type, other.config.target, other.config.source)
        if other.name != config.name and same == (config.type, config.target, config.source):
            raise ResourceBusy(
                f"{config.target} is the pool {other.name} already", hint=f"use that: {other.name}/VOLUME"
            )


def _check_unused(environment: Environment, name: str) -> None:
    held = environment.pools.holders.in_pool(name)
    if held:
        raise ResourceBusy(
            f"pool {name} is in use: {held[0]}{' and others are' if len(held) > 1 else ' is'} open",
            hint=f"wirt volume info {held[0]} says by whom",
        )
    for domain in environment.domains:
        for disk in domain.config.disks:
            if disk.volume is not None and VolumeRef.parse(disk.volume).pool == name:
                what, verb = ("template", "template destroy") if domain.template else ("domain", "undefine")
                raise IllegalState(
                    f"{disk.vdev} of {what} {domain.name} is volume {disk.volume}",
                    hint=f"wirt {verb} {domain.name} first",
                )


async def _reserve(context: EnvContext) -> None:
    """The name is ours from here on: of two creates at once, one fails in this step."""
    environment = context.environment
    config = records.pool_of_values(context.job.arguments["config"])
    if _own(context) is None:
        _check_apart(environment, config)
        await environment.pools.add(StoragePool(config, environment.clock.now(), context.job.id))


def _own(context: EnvContext) -> StoragePool | None:
    """What this job itself recorded: the name may be another pool's, which is why it failed."""
    pool = context.environment.pools.get(context.job.arguments["pool"])
    return pool if pool is not None and pool.created_by == context.job.id else None


async def _release(context: EnvContext) -> None:
    pool = _own(context)
    if pool is not None:
        await context.environment.pools.remove(pool.name)


async def _build(context: EnvContext) -> None:
    pools, config = context.environment.pools, records.pool_of_values(context.job.arguments["config"])
    if await pools.storage.make(config):
        await context.note(made=True)
    pool = await pools.open(config.name)
    await pool.usage()
    await context.note(result={"name": config.name})
    _tell(context.environment, config.name, "created")


async def _tear_down(context: EnvContext) -> None:
    pools = context.environment.pools
    pool = _own(context)
    if pool is not None:
        await pools.close(pool.name)
        if context.job.notes.get("made"):
            await pools.storage.unmake(pool.config)


async def _retire(context: EnvContext) -> None:
    """From here on nothing new goes into it."""
    pools, name = context.environment.pools, context.job.arguments["pool"]
    pool = pools.get(name)
    if pool is None:
        raise NotFound(f"there is no storage pool {name}")
    _check_unused(context.environment, name)
    if not pool.leaving:
        await pools.change(pool, leaving=True)


async def _reinstate(context: EnvContext) -> None:
    pools = context.environment.pools
    pool = pools.get(context.job.arguments["pool"])
    if pool is not None and pool.leaving:
        await pools.change(pool, leaving=False)


async def _empty(context: EnvContext) -> None:
    """What stands on others goes first."""
    if not context.job.arguments["delete-volumes"]:
        return
    name = context.job.arguments["pool"]
    _check_unused(context.environment, name)
    pool = await context.environment.pools.open(name)
    while volumes := await pool.volumes():
        bases = {volume.backing for volume in volumes}
        tops = [volume for volume in volumes if volume.name not in bases]
        if not tops:
            raise IllegalState(
                f"the volumes of {name} stand on one another in a circle", hint="remove them by hand"
            )
        for volume in tops:
            context.progress(f"removing {volume.name}", context.job.progress)
            images = await images_of([volume])
            await pool.remove(volume.name)
            await forget_removed(context.environment, images)


async def _forget(context: EnvContext) -> None:
    pools, name = context.environment.pools, context.job.arguments["pool"]
    try:
        await pools.close(name)
    except WirtError as error:
        await context.note(notices=[str(error)])
    await pools.remove(name)
    _tell(context.environment, name, "destroyed")


def _tell(environment: Environment, name: str, what: str) -> None:
    environment.bus.publish("pool", None, None, {"pool": name, "change": what})


POOLS = (
    Operation(
        JobKind.POOL_CREATE,
        (Step("reserve", _reserve, _release), Step("build", _build, _tear_down)),
        recovery=Recovery.UNDO,
    ),
    Operation(
        JobKind.POOL_DESTROY,
        (
            Step("retire", _retire, _reinstate),
            Step("empty", _empty, nothing_to_undo),
            Step("forget", _forget, nothing_to_undo, final=True),
        ),
        recovery=Recovery.FINISH,
    ),
)
