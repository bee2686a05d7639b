"""The volumes of the disks that come along with a domain: made, empty, on what they stand on."""

from __future__ import annotations

from wirt.model.devices import DiskFormat
from wirt.model.errors import IllegalState
from wirt.model.storage import Volume, VolumeRef
from wirt.operations.backing import remember_made
from wirt.operations.hearing import unless_silent
from wirt.operations.layers import drop_unused, image_of, layers_below
from wirt.operations.receive_layers import Bringing
from wirt.operations.receive_streams import Intake
from wirt.operations.running import EnvContext
from wirt.operations.volumes_steps import check_absent, check_can_create, image_tool, remove_volumes
from wirt.ports.storage import NewVolume, Pool
from wirt.wire.v1_incoming import OfferedDisk


async def make_disks(intake: Intake) -> None:
    context, attempt, offer = intake.context, intake.attempt, intake.offer
    environment, disks = context.environment, {disk.vdev: disk for disk in offer.disks}
    bringing = Bringing(intake)
    for vdev, volume in context.job.arguments["copies"].items():
        ref, disk = VolumeRef.parse(volume), disks[vdev]
        pool = await environment.pools.open(ref.pool)
        below = None
        if vdev in context.job.arguments.get("chained", ()):
            below = await unless_silent(environment, attempt, offer.source, bringing.bring(pool, disk))
        await check_absent(pool, ref.volume)
        await context.note(made=[*context.job.notes.get("made", []), volume])
        if below is None:
            wanted = DiskFormat(disk.format)
            chosen = check_can_create(pool, wanted if wanted in pool.formats else None)
            await pool.create(NewVolume(ref.volume, disk.size, chosen))
        else:
            await _put_on(context, pool, ref, disk, below)
    await environment.pools.holders.release(f"job {context.job.id}")
    attempt.tell(phase="preparing")


async def _put_on(context: EnvContext, pool: Pool, ref: VolumeRef, disk: OfferedDisk, below: Volume) -> None:
    environment = context.environment
    made = await pool.layer(ref.volume, below.name)
    if made.size != disk.size:
        await image_tool(environment).resize(made, disk.size)
    layers = await layers_below(environment, made)
    if not layers or layers[-1].name != below.name:
        raise IllegalState(f"{ref} does not stand on {below.reference}")
    chain = tuple([await image_of(each) for each in reversed(layers)])
    await remember_made(environment, {await image_of(made): chain})


async def unmake_disks(context: EnvContext) -> None:
    """And the layers that came for them, unless others stand on these by now."""
    environment, notes = context.environment, context.job.notes
    await remove_volumes(environment, [VolumeRef.parse(volume) for volume in notes.get("made", [])])
    await environment.pools.holders.release(f"job {context.job.id}")
    await drop_unused(environment, [VolumeRef.parse(each) for each in reversed(notes.get("layers", []))])
