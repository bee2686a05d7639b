"""What the verbs of volumes have in common: while one is at work its job has the volumes, as a domain has its
disks.

Arguments that these steps read from the job: ``target``, the volume that is made, changed or removed, and
``source``, the one that is read. Notes that they write: ``absent``, once it is known that what the job makes was
not there before it, and so is the job's to remove.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from wirt.model.devices import DiskFormat
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, IllegalState, NameInUse, NotFound, ResourceBusy, Unavailable
from wirt.model.storage import Capability, Holder, Volume, VolumeRef
from wirt.operations.backing import forget_removed
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import Step, nothing_to_undo
from wirt.operations.layers import drop_unused, forget
from wirt.operations.running import EnvContext
from wirt.operations.volumes_domain import names_of
from wirt.ports.files import touch
from wirt.ports.storage import ImageTool, Pool

SECTOR = 512
MOST_BYTES = 1 << 60


def target_of(context: EnvContext) -> VolumeRef:
    return VolumeRef.parse(context.job.arguments["target"])


def source_of(context: EnvContext) -> VolumeRef | None:
    source = context.job.arguments.get("source")
    return VolumeRef.parse(source) if source is not None else None


def image_tool(environment: Environment) -> ImageTool:
    if environment.image_tool is None:
        raise Unavailable("this host can't copy images")
    return environment.image_tool


def check_size(size: int) -> int:
    """In bytes, rounded up to whole sectors."""
    if not 0 < size <= MOST_BYTES:
        raise BadInput(f"{size} bytes is no size for a volume", hint="as in 10G: K, M, G and T are powers of 1024")
    return -(-size // SECTOR) * SECTOR


def check_can_create(pool: Pool, format_: DiskFormat | None) -> DiskFormat:
    """The format that a new volume gets: the pool's own preference unless one is said."""
    if Capability.CREATE not in pool.capabilities:
        raise BadInput(
            f"{pool.config.name} is a {pool.config.type} pool, which makes no new volumes",
            hint="its volumes are the devices that it was made of",
        )
    if format_ is None:
        return pool.formats[0]
    if format_ not in pool.formats:
        raise BadInput(
            f"{pool.config.name} makes no {format_} volumes", hint=f"--format {' or '.join(pool.formats)}"
        )
    return format_


async def check_absent(pool: Pool, name: str) -> None:
    try:
        await pool.find(name)
    except NotFound:
        return
    raise NameInUse(f"there is a volume {pool.config.name}/{name} already", hint="choose another name")


def check_free(environment: Environment, ref: VolumeRef, *, writes: bool) -> None:
    holder = Holder(environment.pools.holders.host, job="of this request", writes=writes)
    environment.pools.holders.check(ref, holder, names_of(environment))


def owners(environment: Environment, ref: VolumeRef) -> list[Domain]:
    """The domains that have it among their disks, running or not."""
    return [
        domain for domain in environment.domains if any(disk.volume == str(ref) for disk in domain.config.disks)
    ]


def check_nobodys(environment: Environment, ref: VolumeRef) -> None:
    domains = owners(environment, ref)
    if domains:
        what, verb = ("template", "template destroy") if domains[0].template else ("domain", "undefine")
        raise IllegalState(
            f"volume {ref} is a disk of {what} {domains[0].name}",
            hint=f"take it out of its configuration, or: wirt {verb} {domains[0].name}",
        )
    check_no_snapshots(environment, ref)


def check_no_snapshots(environment: Environment, ref: VolumeRef) -> None:
    """``IllegalState`` if a snapshot has it, or is of it."""
    for tree in environment.snapshots:
        for disk in tree.disks():
            if str(ref) in (disk.kept, disk.volume):
                domain = environment.domains.get(tree.domain)
                name = domain.name if domain is not None else str(tree.domain)
                raise IllegalState(
                    f"volume {ref} is what snapshots of domain {name} are made of",
                    hint=f"wirt snapshot list {name} shows them; wirt snapshot delete removes one",
                )


async def reserve(context: EnvContext) -> None:
    """The volumes are this job's from here on; what it is to make is not there yet."""
    environment, target, source = context.environment, target_of(context), source_of(context)
    holders = environment.pools.holders
    mine = Holder(holders.host, job=context.job.id)
    wanted = {target: mine}
    if source is not None:
        moving = bool(context.job.arguments.get("moving"))
        wanted = {source: Holder(holders.host, job=context.job.id, writes=moving), **wanted}
    for ref in wanted:
        environment.pools.check_open_to_all(ref.pool)
    await holders.claim(wanted, names_of(environment))
    if context.job.arguments.get("new"):
        await note_absent(context)


async def note_absent(context: EnvContext) -> None:
    """What this job makes is not there yet, and so is the job's to remove."""
    target = target_of(context)
    if not context.job.notes.get("absent"):
        await check_absent(await context.environment.pools.open(target.pool), target.volume)
        await context.note(absent=True)


async def release(context: EnvContext) -> None:
    await context.environment.pools.holders.release(f"job {context.job.id}")


async def remove_made(context: EnvContext) -> None:
    """What this job made: it was not there before."""
    environment, target = context.environment, target_of(context)
    if not context.job.notes.get("absent"):
        return
    holders = environment.pools.holders
    try:
        await holders.claim({target: Holder(holders.host, job=context.job.id)}, names_of(environment))
    except ResourceBusy:
        return  # it was finished and released, and someone has it now
    await remove_volumes(environment, [target])


async def remove_volumes(environment: Environment, refs: Sequence[VolumeRef]) -> None:
    """Those that are not there are no error. Others may get their names, and stand on something else."""
    found = []
    for ref in refs:
        with contextlib.suppress(NotFound):
            found.append(await environment.pools.volume(ref))
    images = await images_of(found)
    for ref in refs:
        await environment.pools.deactivate(ref)
        await (await environment.pools.open(ref.pool)).remove(ref.volume)
    await forget_removed(environment, images)
    await forget(environment, refs)
    await drop_unused(environment, [VolumeRef(each.pool, each.backing) for each in found if each.backing])


async def images_of(volumes: Sequence[Volume]) -> list[str]:
    """The real paths of those that may stand on others."""
    paths = [Path(volume.path) for volume in volumes if volume.format is DiskFormat.QCOW2]
    return [str(await touch(path, path.resolve)) for path in paths]


async def there_already(context: EnvContext, pool: Pool) -> Volume | None:
    """What a daemon that died in this step had made."""
    if context.repeated:
        try:
            return await pool.find(target_of(context).volume)
        except NotFound:
            return None
    return None


async def finish(context: EnvContext) -> None:
    target = target_of(context)
    await release(context)
    await context.note(result={"volume": str(target)})
    tell(context.environment, target, str(context.job.kind))


def tell(environment: Environment, ref: VolumeRef, what: str) -> None:
    environment.bus.publish("volume", None, None, {"volume": str(ref), "change": what})


RESERVE = Step("reserve", reserve, release)
RELEASE = Step("release", finish, nothing_to_undo)
