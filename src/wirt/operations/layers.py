"""Layers: volumes that disks stand on, which nobody writes while something does.

What a layer holds is found out by reading all of it, and remembered until the file changes. One that came along
with a domain from another host (``brought``) is nobody's: it goes when the last that stood on it goes. Others are
their owner's, a template's most often, and stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, NotFound, Unavailable, WirtError
from wirt.model.storage import Volume, VolumeRef
from wirt.operations.backing import check_chain, forget_removed
from wirt.operations.environment import Environment
from wirt.operations.records_layers import KnownLayer, layer_key, read_layer, write_layer
from wirt.ports.files import touch
from wirt.ports.layers import Content, LayerFiles
from wirt.ports.store import Delete, Put

MOST_LAYERS = 64


def layer_files(environment: Environment) -> LayerFiles:
    if environment.layer_files is None:
        raise Unavailable("this host can't send or take layers of images", hint="--flatten does without")
    return environment.layer_files


async def layers_below(environment: Environment, volume: Volume) -> tuple[Volume, ...]:
    """What ``volume`` stands on, the lowest first. ``ImageChanged`` if that is not what it was when it was first
    used; ``NotFound`` if one of them is no volume of the pool."""
    pool = await environment.pools.open(volume.pool)
    found: list[Volume] = []
    above = volume
    while above.backing is not None:
        if len(found) == MOST_LAYERS:
            raise BadInput(f"{volume.reference} stands on more than {MOST_LAYERS} images")
        above = await pool.find(above.backing)
        found.append(above)
    await check_chain(environment, await image_of(volume), tuple([await image_of(each) for each in found]))
    return tuple(reversed(found))


async def image_of(volume: Volume) -> str:
    """Its real path."""
    return str(await touch(volume.path, Path(volume.path).resolve))


def images_all(layers: Sequence[Volume], top: Volume) -> bool:
    """Whether each is an image that names the one below it: so are not volumes that share blocks otherwise."""
    return all(each.format is DiskFormat.QCOW2 for each in (*layers[1:], top)) and not top.device


async def known(environment: Environment, ref: VolumeRef) -> KnownLayer | None:
    entry = await environment.store.get(layer_key(ref))
    return None if entry is None else read_layer(entry)


async def content_known(environment: Environment, volume: Volume) -> Content | None:
    """Without reading it."""
    layer = await known(environment, VolumeRef(volume.pool, volume.name))
    if layer is None or layer.content is None or layer.stamp != await stamp_of(environment, volume):
        return None
    return layer.content


async def content_of(environment: Environment, volume: Volume) -> Content:
    """Read it if need be, and remember."""
    found = await content_known(environment, volume)
    if found is not None:
        return found
    before = await stamp_of(environment, volume)
    content = await layer_files(environment).content(volume.path)
    if before and before == await stamp_of(environment, volume):
        ref = VolumeRef(volume.pool, volume.name)
        layer = await known(environment, ref)
        await remember(environment, ref, KnownLayer(content, before, layer is not None and layer.brought))
    return content


async def remember(environment: Environment, ref: VolumeRef, layer: KnownLayer) -> None:
    await environment.store.commit(Put(layer_key(ref), write_layer(layer)))


async def forget(environment: Environment, refs: Iterable[VolumeRef]) -> None:
    for ref in refs:
        if await environment.store.get(layer_key(ref)) is not None:
            await environment.store.commit(Delete(layer_key(ref)))


async def stamp_of(environment: Environment, volume: Volume) -> str:
    """Empty where there is none."""
    if environment.storage is None:
        return ""
    return (await environment.storage.stamps((volume.path,))).get(volume.path, "")


async def drop_unused(environment: Environment, refs: Iterable[VolumeRef]) -> None:
    """Of ``refs``, and what they stand on: those that were brought, and that nothing and nobody uses any more."""
    for ref in refs:
        layer = await known(environment, ref)
        if layer is None or not layer.brought or await _used(environment, ref):
            continue
        pool = await environment.pools.open(ref.pool)
        below = None
        try:
            volume = await pool.find(ref.volume)
        except NotFound:
            await forget(environment, (ref,))
            continue
        except WirtError:
            images = []  # not whole: nothing stood on it, and it stands on nothing that is known
        else:
            if layer.content is not None and layer.stamp != await stamp_of(environment, volume):
                await forget(environment, (ref,))  # somebody has made it his own
                continue
            below, images = volume.backing, [await image_of(volume)]
        await pool.remove(ref.volume)
        await forget_removed(environment, images)
        await forget(environment, (ref,))
        if below is not None:
            await drop_unused(environment, (VolumeRef(ref.pool, below),))


async def _used(environment: Environment, ref: VolumeRef) -> bool:
    if environment.pools.holders.of(ref):
        return True
    if any(disk.volume == str(ref) for domain in environment.domains for disk in domain.config.disks):
        return True
    if any(str(ref) in (disk.kept, disk.volume) for tree in environment.snapshots for disk in tree.disks()):
        return True
    pool = await environment.pools.open(ref.pool)
    return any(volume.backing == ref.volume for volume in await pool.volumes())
