"""``wirt disk-move``: a disk of a domain into another volume, while the guest writes it.

The guest goes over to the copy while it stands still, and runs again only when that is written down. So until
then both volumes hold the same, and afterwards the journal says which one is the disk: whoever dies in between
leaves no doubt. The next daemon goes by what QEMU has open, or by the journal if QEMU is gone.

Notes that these steps write: ``was``, the guest's state when the copying began; ``over``, once it has the copy.
"""

from __future__ import annotations

from wirt.model.devices import DiskFormat
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, IllegalState, NotFound, Unavailable
from wirt.model.job import Job, Recovery
from wirt.model.lifecycle import State
from wirt.model.storage import Holder, Preallocation, Volume, VolumeRef
from wirt.operations.backing import changed
from wirt.operations.backup_busy import check_no_backup
from wirt.operations.engines import engine_of_layer
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step
from wirt.operations.running import EnvContext
from wirt.operations.volumes_copy import (
    check_volume_chain,
    copying,
    into,
    make,
    move,
    renamed,
    switch,
    switch_back,
)
from wirt.operations.volumes_domain import holder_of, names_of, release_some, volumes_of
from wirt.operations.volumes_onto import is_device
from wirt.operations.volumes_room import told_if_full
from wirt.operations.volumes_steps import (
    RELEASE,
    check_no_snapshots,
    image_tool,
    note_absent,
    owners,
    release,
    remove_made,
    remove_volumes,
    source_of,
    target_of,
)
from wirt.ports.live_disks import LiveDisks

LIVE = (State.RUNNING, State.PAUSED)


async def move_disk(
    environment: Environment,
    ref: str,
    vdev: str,
    target: VolumeRef,
    *,
    format_: DiskFormat | None = None,
    bytes_per_s: int | None = None,
    keep: bool = False,
    overwrite: bool = False,
) -> Job:
    """Of a domain that is off its volume is moved. ``keep``: the old volume stays, as it was at the change, as a
    device always does. ``overwrite``: ``target`` may be a device, which is written over."""
    domain = environment.domains.find(ref)
    source = _volume_of(domain, vdev)
    if domain.incarnation is None:
        rate = bytes_per_s
        return await move(
            environment, source, target, format_=format_, bytes_per_s=rate, keep=keep, overwrite=overwrite
        )
    if domain.state not in LIVE:
        raise IllegalState(f"domain {domain.name} is {domain.state}", hint=f"wirt destroy {domain.name} ends it")
    _live(environment)
    check_no_backup(environment, domain)
    _check_alone(environment, domain, source, target)
    check_no_snapshots(environment, source)
    arguments = await into(environment, source, target, format_, Preallocation.OFF, overwrite=overwrite)
    _check_format(domain, vdev, str(arguments["format"]))
    arguments |= {
        "uuid": str(domain.uuid),
        "vdev": vdev,
        "source": str(source),
        "bytes-per-s": bytes_per_s,
        "keep": keep or await is_device(environment, source),
    }
    return await environment.jobs.submit(JobKind.DISK_MOVE, domain.name, arguments)


def _volume_of(domain: Domain, vdev: str) -> VolumeRef:
    disk = next((disk for disk in domain.config.disks if disk.vdev == vdev), None)
    if disk is None:
        known = ", ".join(disk.vdev for disk in domain.config.disks) or "none"
        raise NotFound(f"domain {domain.name} has no disk {vdev}", hint=f"it has {known}")
    if disk.volume is None:
        raise BadInput(
            f"disk {vdev} of domain {domain.name} is {disk.target or 'empty'}, and no volume of a pool",
            hint="only volumes are moved; wirt volume import makes one of a file",
        )
    return VolumeRef.parse(disk.volume)


def _check_alone(environment: Environment, domain: Domain, source: VolumeRef, target: VolumeRef) -> None:
    for owner in owners(environment, source):
        uses = sum(disk.volume == str(source) for disk in owner.config.disks)
        if uses > 1 or (owner.uuid != domain.uuid and owner.incarnation is not None):
            who = "twice" if uses > 1 else "too, and runs"
            raise IllegalState(f"domain {owner.name} has volume {source} {who}: it can be moved while it is off")
        renamed(owner, source, target)


def _check_format(domain: Domain, vdev: str, chosen: str) -> None:
    disk = next(disk for disk in domain.config.disks if disk.vdev == vdev)
    if disk.format_given and str(disk.format) != chosen:
        raise BadInput(
            f"{vdev} is {disk.format} in the configuration of domain {domain.name}, and would be {chosen}",
            hint=f"--format {disk.format}, or leave the format out of the configuration: the pool knows it",
        )


def _live(environment: Environment) -> LiveDisks:
    if environment.live_disks is None:
        raise Unavailable("disks of running guests can't be moved on this host")
    return environment.live_disks


def _run(context: EnvContext) -> Domain | None:
    """The domain, if it runs."""
    domain = _domain(context)
    return domain if domain is not None and domain.incarnation is not None else None


def _domain(context: EnvContext) -> Domain | None:
    uuid = context.job.arguments["uuid"]
    return next((each for each in context.environment.domains if str(each.uuid) == uuid), None)


def _ended(context: EnvContext) -> IllegalState:
    return IllegalState(f"domain {context.job.subject} has ended meanwhile", hint="wirt volume move, or try again")


async def _reserve(context: EnvContext) -> None:
    """The new volume is this job's; the old one stays the guest's."""
    environment, target = context.environment, target_of(context)
    holders = environment.pools.holders
    environment.pools.check_open_to_all(target.pool)
    await holders.claim({target: Holder(holders.host, job=context.job.id)}, names_of(environment))
    if context.job.arguments["new"]:
        await note_absent(context)


async def _copy(context: EnvContext) -> None:
    environment, domain = context.environment, _run(context)
    new = await environment.pools.activate(target_of(context))
    if context.job.notes.get("over"):
        return
    if domain is None:
        raise _ended(context)
    if await _has(environment, domain, context.job.arguments["vdev"], new):
        # A daemon died between the change and its record: the guest has stood still since.
        await _note_over(context)
    else:
        # Before the guest can write to it: what its image says later is compared with this.
        await changed(environment, new)
    await _wake(context, domain)
    if not context.job.notes.get("over"):
        if "was" not in context.job.notes:
            await context.note(was=str(domain.state))
        await _move(context, domain, new)


async def _move(context: EnvContext, domain: Domain, new: Volume) -> None:
    async def settle() -> None:
        await _note_over(context)

    vdev = context.job.arguments["vdev"]
    engine = await engine_of_layer(context.environment, domain, vdev, new)
    async with told_if_full(context.environment, target_of(context)):
        await _live(context.environment).move(
            domain.uuid,
            vdev,
            new,
            copying(context),
            engine=engine,
            bytes_per_s=context.job.arguments.get("bytes-per-s"),
            settle=settle,
        )


async def _note_over(context: EnvContext) -> None:
    await context.note(over=True)


async def _wake(context: EnvContext, domain: Domain) -> None:
    """A guest that a daemon left standing still when it died."""
    if context.repeated and context.job.notes.get("was") == State.RUNNING and domain.state is State.PAUSED:
        await context.environment.hypervisor.resume(domain.uuid)


async def _has(environment: Environment, domain: Domain, vdev: str, volume: Volume) -> bool:
    """Whether the guest writes ``volume``, as the hypervisor has it open now."""
    disks = await _live(environment).disks(domain.uuid)
    now = next((disk.chain[0] for disk in disks if disk.vdev == vdev), None)
    if now is None or environment.storage is None:
        return False
    who = await environment.storage.identify((now, volume.path))
    return now in who and volume.path in who and who[now].own == who[volume.path].own


async def _go_back(context: EnvContext) -> None:
    """What the guest has written meanwhile goes into the old volume, and it goes on with that."""
    environment, domain, source = context.environment, _run(context), source_of(context)
    assert source is not None
    if domain is not None:
        vdev, old = context.job.arguments["vdev"], await environment.pools.volume(source)
        # The new one may be on a server that has gone, which is why it is not asked first.
        if not await _has(environment, domain, vdev, old) and await _has(
            environment, domain, vdev, await environment.pools.volume(target_of(context))
        ):
            engine = await engine_of_layer(environment, domain, vdev, old)
            await _live(environment).move(domain.uuid, vdev, old, lambda share: None, engine=engine)
        await _wake(context, domain)
    elif context.job.notes.get("over"):
        new, old = [await environment.pools.activate(ref) for ref in (target_of(context), source)]
        await check_volume_chain(environment, new)
        await image_tool(environment).convert(new, old, lambda share: None)
        await environment.pools.deactivate(source)
    await context.note(over=False)


async def _switch(context: EnvContext) -> None:
    """From here on the domain has the new volume, and as long as it runs the old one as well."""
    environment, domain, target = context.environment, _run(context), target_of(context)
    if domain is not None:
        disk = next(disk for disk in domain.config.disks if disk.vdev == context.job.arguments["vdev"])
        holder = holder_of(environment, domain)
        mine = next(iter(volumes_of((disk,), holder).values()), holder)
        await environment.pools.holders.pass_on(target, f"job {context.job.id}", mine)
    await switch(context)


async def _switch_back(context: EnvContext) -> None:
    environment, domain = context.environment, _run(context)
    await switch_back(context)
    if domain is not None:
        holders = environment.pools.holders
        mine = Holder(holders.host, job=context.job.id)
        await holders.pass_on(target_of(context), str(domain.uuid), mine)


async def _let_go(context: EnvContext) -> None:
    """Of the old volume, which nobody has open any more."""
    source = await _release_source(context)
    if not context.job.arguments["keep"]:
        await remove_volumes(context.environment, (source,))


async def _release_all(context: EnvContext) -> None:
    """There is no way back: an old volume that can't be removed stays, and is nobody's."""
    await _release_source(context)
    await release(context)


async def _release_source(context: EnvContext) -> VolumeRef:
    source = source_of(context)
    assert source is not None
    await release_some(context.environment, context.job.arguments["uuid"], (source,))
    return source


DISK_MOVE = Operation(
    JobKind.DISK_MOVE,
    (
        Step("reserve", _reserve, release),
        Step("make", make, remove_made),
        Step("copy", _copy, _go_back, interruptible=True),
        Step("switch", _switch, _switch_back, final=True),
        Step("let-go", _let_go, _release_all),
        RELEASE,
    ),
    recovery=Recovery.FINISH,
)
