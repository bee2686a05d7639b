"""``wirt volume copy``, ``move``, ``import`` and ``export``: all bytes of a volume, into another or a file."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from wirt.config.xlcfg import Loaded, load
from wirt.model.devices import DiskFormat
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, IllegalState, NameInUse
from wirt.model.job import Job, Recovery
from wirt.model.storage import Holder, Image, ImageFormat, Preallocation, Volume, VolumeRef
from wirt.operations.backing import check_chain
from wirt.operations.checks import check_path_free
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step
from wirt.operations.running import EnvContext
from wirt.operations.volumes import check_room, subject
from wirt.operations.volumes_domain import names_of
from wirt.operations.volumes_onto import is_device, onto
from wirt.operations.volumes_room import told_if_full
from wirt.operations.volumes_steps import (
    RELEASE,
    RESERVE,
    check_absent,
    check_can_create,
    check_free,
    check_no_snapshots,
    check_size,
    image_tool,
    owners,
    release,
    remove_made,
    remove_volumes,
    source_of,
    target_of,
    there_already,
)
from wirt.ports.files import touch
from wirt.ports.storage import NewVolume, Progress


async def copy(
    environment: Environment,
    source: VolumeRef,
    target: VolumeRef,
    *,
    format_: DiskFormat | None = None,
    preallocation: Preallocation = Preallocation.OFF,
    bytes_per_s: int | None = None,
    overwrite: bool = False,
) -> Job:
    """An independent volume with the same content, of any pool. The source may be read by others meanwhile.
    ``overwrite``: ``target`` may be a device, which is written over."""
    check_free(environment, source, writes=False)
    arguments = await into(environment, source, target, format_, preallocation, overwrite=overwrite)
    arguments |= {"source": str(source), "bytes-per-s": bytes_per_s}
    return await environment.jobs.submit(JobKind.VOLUME_COPY, subject(target), arguments)


async def move(
    environment: Environment,
    source: VolumeRef,
    target: VolumeRef,
    *,
    format_: DiskFormat | None = None,
    bytes_per_s: int | None = None,
    keep: bool = False,
    overwrite: bool = False,
) -> Job:
    """A copy, whereupon the domains that have ``source`` among their disks have ``target`` instead, and ``source``
    is gone, unless it is to be kept, or a device. They are off. ``overwrite`` as for :func:`copy`."""
    check_free(environment, source, writes=True)
    check_no_snapshots(environment, source)
    for domain in owners(environment, source):
        if domain.incarnation is not None:
            raise IllegalState(
                f"volume {source} is a disk of domain {domain.name}, which runs",
                hint=f"wirt disk-move moves it while it runs; or wirt shutdown {domain.name} first",
            )
        renamed(domain, source, target)
    arguments = await into(environment, source, target, format_, Preallocation.OFF, overwrite=overwrite)
    keep = keep or await is_device(environment, source)
    arguments |= {"source": str(source), "bytes-per-s": bytes_per_s, "moving": True, "keep": keep}
    return await environment.jobs.submit(JobKind.VOLUME_MOVE, subject(source), arguments)


async def import_file(
    environment: Environment,
    path: str,
    target: VolumeRef,
    *,
    source_format: ImageFormat | None = None,
    format_: DiskFormat | None = None,
    overwrite: bool = False,
) -> Job:
    """A new volume from an image file, which is believed nothing. ``overwrite`` as for :func:`copy`."""
    facts = await image_tool(environment).inspect(path, source_format)
    if facts.backing is not None:
        raise BadInput(
            f"{path} stands on {facts.backing}, which is not looked for",
            hint="make it one file first: qemu-img convert -O qcow2 IMAGE NEW",
        )
    size = check_size(facts.size)
    arguments = await _target(environment, target, size, format_, Preallocation.OFF, overwrite=overwrite)
    arguments |= {"file": path, "file-format": str(facts.format)}
    return await environment.jobs.submit(JobKind.VOLUME_IMPORT, subject(target), arguments)


async def export_file(environment: Environment, source: VolumeRef, path: str, format_: ImageFormat) -> Job:
    """A new file with the content of a volume."""
    await environment.pools.volume(source)
    check_free(environment, source, writes=False)
    if await asyncio.to_thread(Path(path).exists):
        raise NameInUse(f"there is a file {path} already", hint="choose another name")
    arguments = {"target": str(source), "file": path, "file-format": str(format_)}
    return await environment.jobs.submit(JobKind.VOLUME_EXPORT, subject(source), arguments)


async def into(
    environment: Environment,
    source: VolumeRef,
    target: VolumeRef,
    format_: DiskFormat | None,
    preallocation: Preallocation,
    *,
    overwrite: bool = False,
) -> dict[str, object]:
    volume = await environment.pools.volume(source)
    pool = await environment.pools.open(target.pool)
    wanted = format_ or (volume.format if volume.format in pool.formats else None)
    return await _target(environment, target, volume.size, wanted, preallocation, overwrite=overwrite)


async def _target(
    environment: Environment,
    target: VolumeRef,
    size: int,
    format_: DiskFormat | None,
    preallocation: Preallocation,
    *,
    overwrite: bool,
) -> dict[str, object]:
    environment.pools.check_open_to_all(target.pool)
    pool = await environment.pools.open(target.pool)
    if await is_device(environment, target):
        return await onto(environment, target, size, format_, overwrite=overwrite)
    if overwrite:
        raise BadInput(
            f"volumes of {target.pool} are made, and none is written over",
            hint="leave --overwrite out, and name a volume that is not there yet",
        )
    chosen = check_can_create(pool, format_)
    await check_absent(pool, target.volume)
    await check_room(pool, size if preallocation is Preallocation.FULL else 0)
    return {
        "target": str(target),
        "new": True,
        "size": size,
        "format": str(chosen),
        "preallocation": str(preallocation),
    }


async def make(context: EnvContext) -> None:
    """Of a device it is looked once more whether a guest has it."""
    arguments, target = context.job.arguments, target_of(context)
    pool = await context.environment.pools.open(target.pool)
    if not arguments["new"]:
        await check_path_free(context.environment, (await pool.find(target.volume)).path)
    elif await there_already(context, pool) is None:
        wanted = NewVolume(
            name=target.volume,
            size=arguments["size"],
            format=DiskFormat(arguments["format"]),
            preallocation=Preallocation(arguments["preallocation"]),
        )
        await pool.create(wanted)


async def _copy(context: EnvContext) -> None:
    """What was copied before a crash is copied again: the target is nobody's yet."""
    environment, arguments, target = context.environment, context.job.arguments, target_of(context)
    source = source_of(context)
    new = await environment.pools.activate(target)
    if source is None:
        old: Volume | Image = Image(arguments["file"], ImageFormat(arguments["file-format"]))
    else:
        old = await environment.pools.activate(source)
        await check_volume_chain(environment, old)
    rate = arguments.get("bytes-per-s")
    async with told_if_full(environment, target):
        await image_tool(environment).convert(old, new, copying(context), bytes_per_s=rate)
    await _deactivate(context)


async def check_volume_chain(environment: Environment, volume: Volume) -> None:
    """A guest that has broken out can write what its image stands on: it must be what it always was."""
    if volume.format is DiskFormat.QCOW2:
        chain = await image_tool(environment).chain(volume)
        await check_chain(environment, str(await touch(volume.path, Path(volume.path).resolve)), chain)


async def _deactivate(context: EnvContext) -> None:
    """Of the source, only if nobody else reads it here."""
    environment, source = context.environment, source_of(context)
    await environment.pools.deactivate(target_of(context))
    mine = f"job {context.job.id}"
    others = environment.pools.holders.of(source) if source is not None else ()
    if source is not None and all(each.who == mine or each.template for each in others):
        await environment.pools.deactivate(source)


def copying(context: EnvContext) -> Progress:
    """Nearly all of the time goes here, so nearly all of the bar does."""

    def tell(share: float) -> None:
        context.progress(f"copying: {share:.0%}", 0.1 + share * 0.8)

    return tell


async def switch(context: EnvContext) -> None:
    """From here on the domains have the new volume. Those that were switched before a crash have it already."""
    environment, source, target = context.environment, source_of(context), target_of(context)
    assert source is not None
    for domain in owners(environment, source):
        loaded = renamed(domain, source, target)
        changed = await environment.domains.change(domain.uuid, config=loaded.config, text=loaded.text)
        environment.tell(changed)


async def switch_back(context: EnvContext) -> None:
    environment, source, target = context.environment, source_of(context), target_of(context)
    assert source is not None
    for domain in owners(environment, target):
        loaded = renamed(domain, target, source)
        await environment.domains.change(domain.uuid, config=loaded.config, text=loaded.text)


def renamed(domain: Domain, old: VolumeRef, new: VolumeRef) -> Loaded:
    """Its configuration with another volume in the place of ``old``. A format that an entry names must go for the
    new one; there the person is asked."""
    pattern = re.compile(rf"{re.escape(old.stored)}(?![A-Za-z0-9+_.-])")
    loaded = load(pattern.sub(new.stored, domain.text), file=domain.name, cwd=PurePosixPath("/"))
    disks = tuple(
        replace(disk, target=new.stored) if disk.volume == str(old) else disk for disk in domain.config.disks
    )
    if loaded.config != replace(domain.config, disks=disks):
        raise IllegalState(
            f"the configuration of domain {domain.name} names {old} in a way that can't be changed safely",
            hint=f"wirt volume copy, then change it by hand: wirt undefine {domain.name} and wirt define FILE",
        )
    return loaded


async def _remove_source(context: EnvContext) -> None:
    source = source_of(context)
    assert source is not None
    if not context.job.arguments.get("keep"):
        await remove_volumes(context.environment, (source,))


async def _export(context: EnvContext) -> None:
    environment, arguments, source = context.environment, context.job.arguments, target_of(context)
    path = Path(arguments["file"])
    if not context.job.notes.get("new-file"):
        if await asyncio.to_thread(path.exists):
            raise NameInUse(f"there is a file {path} already", hint="choose another name")
        await context.note(**{"new-file": True})
    elif context.repeated:
        await asyncio.to_thread(path.unlink, missing_ok=True)
    volume = await environment.pools.activate(source)
    await check_volume_chain(environment, volume)
    image = Image(str(path), ImageFormat(arguments["file-format"]))
    await image_tool(environment).write(volume, image, copying(context))


async def _remove_file(context: EnvContext) -> None:
    if context.job.notes.get("new-file"):
        await asyncio.to_thread(Path(context.job.arguments["file"]).unlink, missing_ok=True)


async def _reserve_export(context: EnvContext) -> None:
    """Others may read it too."""
    environment, source = context.environment, target_of(context)
    holders = environment.pools.holders
    wanted = Holder(holders.host, job=context.job.id, writes=False)
    await holders.claim({source: wanted}, names_of(environment))


_MAKE = Step("make", make, remove_made)
_COPY = Step("copy", _copy, _deactivate, interruptible=True)

COPIES = (
    Operation(JobKind.VOLUME_COPY, (RESERVE, _MAKE, _COPY, RELEASE), recovery=Recovery.UNDO),
    Operation(JobKind.VOLUME_IMPORT, (RESERVE, _MAKE, _COPY, RELEASE), recovery=Recovery.UNDO),
    Operation(
        JobKind.VOLUME_MOVE,
        (
            RESERVE,
            _MAKE,
            _COPY,
            Step("switch", switch, switch_back, final=True),
            Step("remove", _remove_source, release),
            RELEASE,
        ),
        recovery=Recovery.FINISH,
    ),
    Operation(
        JobKind.VOLUME_EXPORT,
        (
            Step("reserve", _reserve_export, release),
            Step("write", _export, _remove_file, interruptible=True),
            RELEASE,
        ),
        recovery=Recovery.UNDO,
    ),
)
