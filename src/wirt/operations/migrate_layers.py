"""What disks that come along stand on: offered by its content, and sent as far as the other host lacks it, before
anything that the guest writes."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING
from uuid import UUID

from wirt.model.errors import IllegalState, NotFound, Unavailable, WirtError
from wirt.model.migration import Remark
from wirt.model.storage import VolumeRef
from wirt.operations import records
from wirt.operations.boot_files import source_of
from wirt.operations.environment import Environment
from wirt.operations.layers import content_of, image_of, images_all, layer_files, layers_below
from wirt.operations.migrate_link import Link, ask_for_good, unless_lost
from wirt.operations.running import EnvContext
from wirt.ports.layers import Content
from wirt.wire.v1_incoming import Offer, OfferedDisk, OfferedLayer, Terms

if TYPE_CHECKING:
    from wirt.operations.migrate import MoveWish

TELL_S = 10.0
AGAIN_S = 0.5


async def offered_layers(environment: Environment, ref: VolumeRef, *, off: bool) -> list[OfferedLayer]:
    """Lowest first; none of a disk that stands on nothing, or on what can't be taken along as it is. ``off``: no
    guest has it, so what it says is believed as at a start, where it is first used."""
    volume = await environment.pools.volume(ref)
    try:
        layers = await layers_below(environment, volume)
    except NotFound:
        return []
    if not layers or not images_all(layers, volume):
        return []
    if not off and await environment.store.get(records.backing_key(await image_of(volume))) is None:
        return []  # what it was to stand on is not known, and a guest may have written what it says
    offered = []
    for layer in layers:
        content = await content_of(environment, layer)
        offered.append(OfferedLayer(layer.name, str(layer.format), layer.size, content.length, content.digest))
    return offered


async def flattened(environment: Environment, offer: Offer) -> list[Remark]:
    """Of each disk that stands on something and arrives as one whole image: that it does."""
    remarks = []
    for disk in offer.disks:
        if not disk.copied or disk.layers or disk.volume is None:
            continue
        volume = await environment.pools.volume(VolumeRef.parse(disk.volume))
        if volume.backing is not None:
            what = f"disk {disk.vdev} stands on {volume.backing} here, and becomes one whole image there"
            remarks.append(Remark(False, what, None))
    return remarks


def brings_nothing(offer: Offer, terms: Terms) -> list[Remark]:
    """Of a host that takes nothing but the disks of a domain that is off."""
    remedy = "install the same wirt on both hosts"
    if any(file.copied for file in terms.files):
        what = f"{terms.host} has an older wirt, which takes no kernel and the like with a domain that is off"
        return [Remark(True, what, remedy)]
    if any(disk.layers for disk in offer.disks):
        what = f"{terms.host} has an older wirt, which takes disks of a domain that is off as whole images only"
        return [Remark(True, what, f"{remedy}, or be content (--flatten)")]
    return []


def disks_only(offer: Offer) -> Offer:
    """For such a host."""
    return replace(offer, files=[], disks=[replace(disk, layers=[]) for disk in offer.disks])


async def send_layers(context: EnvContext, link: Link, offer: Offer, wish: MoveWish) -> None:
    """Until the other side has all that it wants, and waits for the guest, or for the disks of one that is off."""
    disks = {disk.vdev: disk for disk in offer.disks}
    sent, opened = 0, link.opened
    assert opened is not None
    while opened.memory.port is None and opened.memory.path is None and not opened.ready:
        for wanted in opened.wanted:
            disk = disks.get(wanted.vdev)
            if opened.layers is None or disk is None or not 0 <= wanted.number < len(disk.layers):
                raise IllegalState(f"{link.peer.name} asks for what it was not offered")
            sent += await _send_layer(context, link, disk, disk.layers[wanted.number], wish)
        for key in opened.wanted_files:
            sent += await _send_file(context, link, offer, key, wish)
        if opened.layers is None:
            context.progress(f"{link.peer.name} waits for what another move brings", 0.03)
            await context.environment.clock.sleep(AGAIN_S)
        opened = await unless_lost(link, link.prepare(asdict(offer)))
    if sent:
        await context.note(layer_bytes=sent)


async def _send_layer(
    context: EnvContext, link: Link, disk: OfferedDisk, layer: OfferedLayer, wish: MoveWish
) -> int:
    assert disk.volume is not None
    pool = VolumeRef.parse(disk.volume).pool
    volume = await context.environment.pools.volume(VolumeRef(pool, layer.name))
    what = f"{layer.name}, which disk {disk.vdev} stands on"
    return await _send(context, link, volume.path, Content(layer.length, layer.digest), what, wish)


async def _send_file(context: EnvContext, link: Link, offer: Offer, key: str, wish: MoveWish) -> int:
    domain = context.environment.domains.get(UUID(offer.uuid))
    file = next((each for each in offer.files if each.key == key), None)
    if file is None or domain is None or link.opened is None or link.opened.layers is None:
        raise IllegalState(f"{link.peer.name} asks for what it was not offered")
    path = await source_of(context.environment, domain, key)
    return await _send(context, link, path, Content(file.length, file.digest), f"the {key}", wish)


async def _send(context: EnvContext, link: Link, path: str, content: Content, what: str, wish: MoveWish) -> int:
    def tell(share: float) -> None:
        context.progress(f"copying {what}: {share:.0%}", 0.03)

    assert link.opened is not None and link.opened.layers is not None
    channel = await link.channel(link.opened.layers)
    files = layer_files(context.environment)
    try:
        return await unless_lost(link, files.send(path, content, channel, tell, bytes_per_s=wish.bytes_per_s))
    except Unavailable as error:
        raise await _why(context, wish.target, link.peer.name, error) from error


async def _why(context: EnvContext, target: str, name: str, error: WirtError) -> WirtError:
    """The other side's reason, of a stream that it has cut."""
    try:
        standing = await ask_for_good(context.environment, target, context.job.arguments["handover"], TELL_S)
    except WirtError:
        return error
    return IllegalState(f"{name} gave the move up: {standing.message}") if standing.message else error
