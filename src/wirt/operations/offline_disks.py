"""The disks of a domain that is off, from one host to the other: read and written by those who open disks that
nobody has open, and carried by the daemons themselves (:mod:`wirt.ports.disk_stream`)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from wirt.model.errors import DeadlinePassed, IllegalState, Unavailable
from wirt.model.storage import Holder, VolumeRef
from wirt.operations.environment import Environment
from wirt.operations.hearing import SILENCE_S
from wirt.operations.migrate_link import Link
from wirt.operations.receive import peers_of
from wirt.operations.running import EnvContext
from wirt.operations.volumes_domain import names_of
from wirt.ports import disk_stream
from wirt.ports.blocks import Blocks
from wirt.ports.migration import Channel, Credentials
from wirt.ports.peers import OpenDoor
from wirt.ports.threads import in_thread
from wirt.wire.v1_incoming import Offer, OfferedDisk


async def hold(context: EnvContext, offer: Offer) -> None:
    """What is to be copied is this job's, so that nothing else is started with it."""
    holders = context.environment.pools.holders
    mine = Holder(holders.host, job=context.job.id)
    refs = [VolumeRef.parse(disk.volume) for disk in offer.disks if disk.copied and disk.volume is not None]
    if refs:
        await holders.claim(dict.fromkeys(refs, mine), names_of(context.environment))


async def let_go(context: EnvContext) -> None:
    await context.environment.pools.holders.release(f"job {context.job.id}")


async def send_disks(context: EnvContext, link: Link, offer: Offer, bytes_per_s: int | None) -> None:
    """One after the other; all of each is on the other host's disk when this returns."""
    copied = [disk for disk in offer.disks if disk.copied]
    for number, disk in enumerate(copied):
        if link.opened is None or link.opened.disks is None:
            raise IllegalState(f"{link.peer.name} waits for no disks")

        def tell(share: float, vdev: str = disk.vdev, number: int = number) -> None:
            whole = (number + share) / len(copied)
            context.progress(f"copying disk {vdev}: {share:.0%}", 0.2 + 0.6 * whole)

        channel = await link.channel(link.opened.disks)
        top = disk.vdev in link.opened.chained
        await _send(context.environment, channel, disk, tell, bytes_per_s, top=top)
    if copied:
        layers = context.job.notes.get("layer_bytes", 0)
        await context.note(disk_bytes=layers + sum(disk.size for disk in copied))


async def _send(
    environment: Environment,
    channel: Channel,
    disk: OfferedDisk,
    tell: Callable[[float], None],
    bytes_per_s: int | None,
    *,
    top: bool,
) -> None:
    """``top``: only what its topmost image has of its own, for the other side's stands on the same."""
    loop = asyncio.get_running_loop()

    def told(share: float) -> None:
        loop.call_soon_threadsafe(tell, share)

    assert disk.volume is not None
    with contextlib.closing(channel.stream):
        stream = await peers_of(environment).protect(channel, receives=False)
        with contextlib.closing(stream):
            async with _opened(environment, VolumeRef.parse(disk.volume), writable=False, top=top) as blocks:
                stop = threading.Event()
                send = partial(disk_stream.send, zeroes=top)
                await _carried(stream, stop, send, stream, disk.vdev, blocks, told, stop, bytes_per_s)


async def receive_disks(context: EnvContext, door: OpenDoor, mine: Credentials | None) -> None:
    """Into the volumes that were made for them. Whether the source lives is watched beside."""
    environment = context.environment
    for vdev, volume in context.job.arguments["copies"].items():
        arrived = await _accept(door)
        with contextlib.closing(arrived):
            stream = await peers_of(environment).protect(Channel(arrived, mine), receives=True)
            with contextlib.closing(stream):
                async with _opened(environment, VolumeRef.parse(volume), writable=True) as blocks:
                    stop = threading.Event()
                    await _carried(stream, stop, disk_stream.receive, stream, vdev, blocks, stop)


async def _accept(door: OpenDoor) -> socket.socket:
    while True:
        try:
            return await door.accept(SILENCE_S)
        except DeadlinePassed:
            continue


@asynccontextmanager
async def _opened(
    environment: Environment, ref: VolumeRef, *, writable: bool, top: bool = False
) -> AsyncIterator[Blocks]:
    if environment.backups is None:
        raise Unavailable("this host can't open the disks of a domain that is off")
    volume = await environment.pools.activate(ref)
    try:
        async with environment.backups.disks.serve(volume, writable=writable, top=top) as blocks:
            yield blocks
    finally:
        await environment.pools.deactivate(ref)


async def _carried(
    stream: socket.socket, stop: threading.Event, carry: Callable[..., int], /, *words: object
) -> int:
    """Cancelled, the stream is cut, so that the thread does not wait for it."""
    work = asyncio.ensure_future(in_thread(stop, carry, *words))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.set()
        with contextlib.suppress(OSError):
            # Not TLS's own, which would let go of the encryption first.
            socket.socket.shutdown(stream, socket.SHUT_RDWR)
        await asyncio.wait({work})
        work.cancelled() or work.exception()
        raise
