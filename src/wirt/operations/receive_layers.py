"""What a disk that comes along stands on: found here by its content, or brought from the source.

Of several moves that need the same layer one brings it, and the others wait and use it. Who uses one has it (as a
job has volumes) until an image stands on it. Notes of the job: ``layers``, those that it began to bring.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, ImageChanged, NameInUse, ResourceBusy
from wirt.model.storage import Capability, Holder, Volume, VolumeRef, check_volume_name
from wirt.operations.backing import remember_made
from wirt.operations.environment import Environment
from wirt.operations.layers import (
    MOST_LAYERS,
    content_known,
    content_of,
    image_of,
    known,
    layer_files,
    layers_below,
    remember,
    stamp_of,
)
from wirt.operations.receive_streams import Intake, Streams, asked_for
from wirt.operations.records_layers import KnownLayer
from wirt.operations.volumes_domain import names_of
from wirt.operations.volumes_steps import MOST_BYTES, check_absent, image_tool
from wirt.ports.layers import Content
from wirt.ports.storage import NewVolume, Pool
from wirt.wire.v1_incoming import OfferedDisk, OfferedLayer, PlacedLayer, WantedLayer

_DIGEST = re.compile(r"[0-9a-f]{64}")


def check_layers(disk: OfferedDisk) -> None:
    """``BadInput``: what another host says of its layers can't be right."""
    if len(disk.layers) > MOST_LAYERS:
        raise BadInput(f"{len(disk.layers)} layers are more than the {MOST_LAYERS} that there may be")
    for number, layer in enumerate(disk.layers):
        check_volume_name(layer.name)
        formats = (DiskFormat.QCOW2,) if number else (DiskFormat.QCOW2, DiskFormat.RAW)
        sizes = 0 < layer.size <= MOST_BYTES and 0 < layer.length <= MOST_BYTES
        if layer.format not in formats or not sizes or not _DIGEST.fullmatch(layer.digest):
            raise BadInput(f"the layer {layer.name} is offered in a way that can't be right")


def takes_layers(pool: Pool, disk: OfferedDisk) -> bool:
    """Whether images in ``pool`` can stand on others as those of ``disk`` do."""
    formats = {DiskFormat(disk.format), *(DiskFormat(layer.format) for layer in disk.layers)}
    return Capability.LAYERS in pool.capabilities and formats <= set(pool.formats)


async def place_layers(environment: Environment, pool: Pool, disk: OfferedDisk) -> list[PlacedLayer]:
    """Where they would be now."""
    placed: list[PlacedLayer] = []
    below: Volume | None = None
    taken = {volume.name for volume in await pool.volumes()}
    for number, layer in enumerate(disk.layers):
        same = await find_same(environment, pool, layer, below) if number == 0 or below is not None else None
        name = same.name if same is not None else next((n for n in _names(layer) if n not in taken), layer.name)
        placed.append(PlacedLayer(str(VolumeRef(pool.config.name, name)), copied=same is None))
        below = same
    return placed


async def find_same(
    environment: Environment, pool: Pool, layer: OfferedLayer, below: Volume | None
) -> Volume | None:
    """A volume of the same content that stands on ``below``. Of those of which it is not known yet what they hold,
    only one of the same name is read."""
    wanted = Content(layer.length, layer.digest)
    for volume in await pool.volumes():
        backing = below.name if below is not None else None
        if (volume.format, volume.size, volume.backing) != (DiskFormat(layer.format), layer.size, backing):
            continue
        ref = VolumeRef(volume.pool, volume.name)
        if any(holder.writes for holder in environment.pools.holders.of(ref)) or volume.device:
            continue
        content = await content_known(environment, volume)
        if content is None and volume.name == layer.name and await _may_be(environment, ref, volume, wanted):
            content = await content_of(environment, volume)
        if content == wanted:
            return volume
    return None


async def _may_be(environment: Environment, ref: VolumeRef, volume: Volume, wanted: Content) -> bool:
    layer = await known(environment, ref)
    if layer is not None and layer.content is None:
        return False
    return await layer_files(environment).length(volume.path) == wanted.length


class Bringing:
    """Layers that come in for one job, disk by disk."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._context = intake.context
        self._environment = intake.context.environment
        self._attempt = intake.attempt
        self._offer = intake.offer

    async def bring(self, pool: Pool, disk: OfferedDisk) -> Volume:
        """The topmost of those that ``disk`` is to stand on, which is there now and has them below it."""
        layers = disk.layers
        self._attempt.tell(phase="queued")
        async with self._environment.incoming.bringing(f"{pool.config.name} {layers[0].digest}"):
            self._attempt.tell(phase="layers")
            below: Volume | None = None
            for number, layer in enumerate(layers):
                same = await find_same(self._environment, pool, layer, below)
                if same is None:
                    return await self._take(pool, disk.vdev, layers, number, below)
                await self._hold(VolumeRef(same.pool, same.name), writes=False)
                below = same
        assert below is not None
        return below

    async def _take(
        self, pool: Pool, vdev: str, layers: Sequence[OfferedLayer], first: int, below: Volume | None
    ) -> Volume:
        """Those from ``first`` on, from the source."""
        wanted = [WantedLayer(vdev, number) for number in range(first, len(layers))]
        async with asked_for(self._intake, layers=wanted) as streams:
            for layer in layers[first:]:
                below = await self._one(pool, layer, below, streams)
        assert below is not None
        return below

    async def _one(self, pool: Pool, layer: OfferedLayer, below: Volume | None, streams: Streams) -> Volume:
        environment, wanted = self._environment, Content(layer.length, layer.digest)
        channel = await streams.next(layer.name)
        try:
            ref = await self._new(pool, layer)
            volume = await environment.pools.activate(ref)
        except BaseException:
            channel.stream.close()
            raise
        self._context.progress(f"taking {layer.name}, which disks stand on", 0.05)
        await layer_files(environment).receive(volume.path, wanted, channel)
        volume = await self._settled(pool, ref, layer, below)
        await remember(environment, ref, KnownLayer(wanted, await stamp_of(environment, volume), brought=True))
        below_it = await layers_below(environment, volume)
        await remember_made(
            environment,
            {await image_of(volume): tuple([await image_of(each) for each in reversed(below_it)])},
        )
        await self._hold(ref, writes=False)
        return volume

    async def _new(self, pool: Pool, layer: OfferedLayer) -> VolumeRef:
        """A volume under the layer's own name if that is free. It is this job's to remove, before it is there."""
        for name in _names(layer):
            ref = VolumeRef(pool.config.name, name)
            try:
                await self._hold(ref, writes=True)
                await check_absent(pool, name)
            except NameInUse:
                await self._environment.pools.holders.release(f"job {self._context.job.id}", (ref,))
                continue
            except ResourceBusy:
                continue
            await remember(self._environment, ref, KnownLayer(None, brought=True))
            await self._context.note(layers=[*self._context.job.notes.get("layers", []), str(ref)])
            await pool.create(NewVolume(name, layer.size, DiskFormat(layer.format)))
            return ref
        raise NameInUse(f"there are volumes called {' and '.join(_names(layer))} already, with another content")

    async def _settled(self, pool: Pool, ref: VolumeRef, layer: OfferedLayer, below: Volume | None) -> Volume:
        """What came may say that it stands on any file of this host."""
        volume = await pool.find(ref.volume)
        if below is not None and volume.backing is not None:
            await image_tool(self._environment).point(volume, below)
            volume = await pool.find(ref.volume)
        backing = below.name if below is not None else None
        if (volume.size, volume.backing) != (layer.size, backing):
            raise ImageChanged(
                f"{layer.name} holds {volume.size} bytes and stands on {volume.backing or 'nothing'}, "
                f"and {self._offer.source} has said otherwise"
            )
        return volume

    async def _hold(self, ref: VolumeRef, *, writes: bool) -> None:
        holders = self._environment.pools.holders
        wanted = Holder(holders.host, job=self._context.job.id, writes=writes)
        await holders.claim({ref: wanted}, names_of(self._environment))


def _names(layer: OfferedLayer) -> tuple[str, str]:
    return layer.name, f"{layer.name[:100]}-{layer.digest[:12]}"
