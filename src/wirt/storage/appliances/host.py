"""Appliances of this host's files: two processes, each in its jail. The worker reads the archive and can write
nothing; qemu-img writes the volume and sees nothing of the archive but one disk's bytes, through a socket between
them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace

from wirt.model.appliance import Appliance, ApplianceDisk, ApplianceKind
from wirt.model.errors import BadInput, IllegalState, Unavailable, WirtError
from wirt.model.storage import ImageFormat, Volume
from wirt.ports.appliances import Found, Package, Packed
from wirt.ports.process import started
from wirt.ports.storage import Progress
from wirt.storage.appliances import said, writing
from wirt.storage.appliances.jail import worker
from wirt.storage.appliances.opening import Opened
from wirt.storage.appliances.worker import CHECK, SCAN, SERVE, Order
from wirt.storage.image_jail import driver, find_layer, jail, percent, program, protocol, reason
from wirt.storage.images import INSPECT_S, STALLED_S
from wirt.storage.programs import Failed, attempt, stream
from wirt.storage.settling import settled

LOOK_S = 900.0
"""An archive of some terabytes has millions of headers."""
_LAST_WORDS_S = 10.0
_PART_BYTES = 64 * 1024
_SECTOR = 512


class HostAppliances:
    def __init__(self, qemu_img: str = "qemu-img") -> None:
        self._qemu_img = qemu_img

    async def look(self, path: str, format_: ImageFormat | None = None, machine: str = "") -> Found:
        try:
            async with asyncio.timeout(LOOK_S):
                return await self._look(path, format_, machine)
        except TimeoutError as error:
            raise Unavailable(f"{path} took longer than {LOOK_S:g} s to look at, and was given up") from error

    async def _look(self, path: str, format_: ImageFormat | None, machine: str) -> Found:
        async with _open(path) as files:
            appliance = await self._scan(files, format_, machine, probing=False)
            if machine and appliance.kind not in (ApplianceKind.OVA, ApplianceKind.OVF):
                raise BadInput(f"{path} holds one machine, if any", hint="leave --machine out")
            if appliance.kind is ApplianceKind.OVF:
                names = [disk.file for disk in appliance.disks if disk.file is not None]
                await asyncio.to_thread(files.beside, names)
                await asyncio.to_thread(files.manifest)
                appliance = await self._scan(files, format_, machine, probing=True)
            disks = list(appliance.disks)
            if appliance.kind is not ApplianceKind.XVA:
                disks = [await self._measured(files, n, each, format_, machine) for n, each in enumerate(disks)]
            lost = [
                f"the capacity of {old.label} in its description: {old.size} bytes, and it has {new.size}"
                for old, new in zip(appliance.disks, disks, strict=True)
                if old.size not in (None, new.size)
            ]
            found = replace(appliance, disks=tuple(disks), lost=(*appliance.lost, *lost))
            _, *others = files.files
            return Found(found, Package(path, files.stamp(), tuple(others), format_, machine))

    async def check(self, package: Package, progress: Progress) -> None:
        async with _reopened(package) as files:
            await self._work(files, Order(CHECK, files.files, machine=package.machine), progress)

    async def pour(
        self, package: Package, disk: int, format_: ImageFormat, target: Volume, progress: Progress
    ) -> None:
        what = f"a disk of {package.path} can't be copied to {target.reference}"
        into = await asyncio.to_thread(find_layer, target.path, str(target.format), "/out")
        options = f"driver={driver(target.format)},file.driver={protocol(into)},file.filename=/out"
        async with _reopened(package) as files, self._served(files, disk, package.format, package.machine) as link:
            # A file was made for this and holds nothing; a logical volume may hold what another has left.
            blank = [] if into.device else ["--target-is-zero"]
            words = ["convert", "-p", "-n", *blank, "--target-image-opts", _source(format_, link), options]
            argv = (*jail([], [into], target.size), program(self._qemu_img, what), *words)
            async with settled(into.path, what):
                try:
                    listener = percent(progress)
                    await stream(*argv, what=what, stalled_s=STALLED_S, listener=listener, pass_fds=[link])
                except Failed as error:
                    raise reason(what, error) from error

    async def measure(self, path: str) -> Packed:
        return await asyncio.to_thread(writing.measure, path)

    async def room(self, path: str) -> int:
        return await asyncio.to_thread(writing.room, path)

    async def exists(self, path: str) -> bool:
        return await asyncio.to_thread(os.path.lexists, path)

    async def make_scratch(self, path: str) -> None:
        await asyncio.to_thread(writing.make_scratch, path)

    async def discard(self, path: str) -> None:
        await asyncio.to_thread(writing.discard, path)

    async def pack(
        self, path: str, descriptor: tuple[str, str], files: Sequence[Packed], scratch: str, progress: Progress
    ) -> None:
        await writing.pack(path, descriptor, files, scratch, progress)

    async def _scan(self, files: Opened, format_: ImageFormat | None, machine: str, *, probing: bool) -> Appliance:
        order = Order(SCAN, files.files, str(format_ or ""), probing, machine=machine)
        return said.appliance(await self._work(files, order, lambda share: None), files.path)

    async def _measured(
        self, files: Opened, number: int, disk: ApplianceDisk, sure: ImageFormat | None, machine: str
    ) -> ApplianceDisk:
        """With the size that a guest would see."""
        if disk.file is None:
            return disk
        if disk.format is ImageFormat.RAW:
            return replace(disk, size=-(-disk.stored // _SECTOR) * _SECTOR)
        what = f"{disk.label} of {files.path} can't be read as an image"
        async with self._served(files, number, sure, machine) as link:
            words = ["info", "--output=json", _source(disk.format, link)]
            argv = (*jail([], [], 0), program(self._qemu_img, what), *words)
            try:
                out = await attempt(*argv, what=what, deadline_s=INSPECT_S, pass_fds=[link])
            except Failed as error:
                raise reason(what, error) from error
        return replace(disk, size=said.virtual_size(out, what))

    async def _work(self, files: Opened, order: Order, progress: Progress) -> bytes:
        """All that the worker says. ``BadInput`` with its own words if it gave up."""
        what = f"{files.path} can't be imported"

        def look(part: bytes) -> None:
            for found in said.objects(part):
                if isinstance(found.get("share"), float | int):
                    progress(min(1.0, max(0.0, float(found["share"]))))

        argv = worker(json.dumps(asdict(order)))
        fds = list(order.files.values())
        try:
            out = await stream(*argv, what=what, stalled_s=STALLED_S, listener=look, pass_fds=fds)
        except Failed as error:
            raise said.complaint(error.out.encode(), what) or reason(what, error) from error
        return out.encode()

    @asynccontextmanager
    async def _served(
        self, files: Opened, disk: int, sure: ImageFormat | None, machine: str
    ) -> AsyncIterator[int]:
        """The descriptor of a socket on which the worker serves the bytes of ``disk``. What fails because of the
        archive fails with the worker's words."""
        what = f"{files.path} can't be imported"
        mine, other = socket.socketpair()
        with mine:
            with other:
                order = Order(SERVE, files.files, str(sure or ""), True, disk, other.fileno(), machine)
                fds = [*files.files.values(), other.fileno()]
                run = started(tuple(worker(json.dumps(asdict(order)))), pass_fds=fds)
                process = await run.__aenter__()
            words = asyncio.create_task(_drained(process.stdout))
            try:
                try:
                    yield mine.fileno()
                except WirtError as error:
                    mine.close()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_LAST_WORDS_S):
                            complaint = said.complaint(await words, what)
                            if complaint is not None:
                                raise complaint from error
                    raise
            finally:
                words.cancel()
                await run.__aexit__(None, None, None)


def _source(format_: ImageFormat, link: int) -> str:
    """An image whose bytes come from the socket, and which stands on nothing."""
    node = {"driver": "nbd", "server": {"type": "fd", "str": str(link)}}
    image: dict[str, object] = {"driver": driver(format_), "file": node}
    if format_ in (ImageFormat.QCOW2, ImageFormat.VMDK):
        image["backing"] = None
    return f"json:{json.dumps(image)}"


@asynccontextmanager
async def _open(path: str) -> AsyncIterator[Opened]:
    files = await asyncio.to_thread(Opened, path)
    with files:
        yield files


@asynccontextmanager
async def _reopened(package: Package) -> AsyncIterator[Opened]:
    async with _open(package.path) as files:
        await asyncio.to_thread(files.beside, package.files)
        if files.stamp() != package.stamp:
            raise IllegalState(f"{package.path} has changed since it was looked at", hint="try again")
        yield files


async def _drained(stream_: asyncio.StreamReader | None) -> bytes:
    """The last part of what is said, so that nobody waits to say more."""
    kept = b""
    while stream_ is not None and (part := await stream_.read(_PART_BYTES)):
        kept = (kept + part)[-_PART_BYTES:]
    return kept
