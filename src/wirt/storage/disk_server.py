"""Disks of guests that are off, served by qemu-nbd(8) in a jail as :mod:`wirt.storage.images` builds it: the
images of this call, its socket, and nothing else. Dirty bitmaps that a qcow2 image keeps are checkpoints."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from wirt.model.devices import DiskFormat
from wirt.model.errors import ResourceBusy, Unavailable, WirtError
from wirt.model.storage import Image, Volume
from wirt.model.text import plain
from wirt.ports.blocks import BLOCK, Blocks
from wirt.ports.files import touch
from wirt.ports.nbd import ALLOCATION, CHANGES, DEPTH, NbdBlocks
from wirt.ports.process import started
from wirt.storage import image_jail, images
from wirt.storage.programs import Failed, stream

UP_S = 20.0
_LOOK_S = 0.01
_PREFIX = "wirt."


class QemuDiskServer:
    def __init__(self, qemu_nbd: str = "qemu-nbd", qemu_img: str = "qemu-img") -> None:
        self._qemu_nbd = qemu_nbd
        self._qemu_img = qemu_img

    @asynccontextmanager
    async def serve(
        self, disk: Volume | Image, *, writable: bool = False, changes: str | None = None, top: bool = False
    ) -> AsyncIterator[Blocks]:
        what = f"{images.called(disk)} can't be opened"
        chain = await touch(disk.path, images.chain_of, disk)
        size = disk.size if isinstance(disk, Volume) else 0
        with tempfile.TemporaryDirectory(prefix="wirt-nbd-") as directory:
            place = image_jail.Layer(directory, "", False, "/nbd")
            shown, written = (chain[1:], [chain[0], place]) if writable else (chain, [place])
            mode = () if writable else ("--read-only",)
            bitmap = () if changes is None else ("--bitmap", _PREFIX + changes)
            depth = ("--allocation-depth",) if top else ()
            command = (
                *image_jail.jail(shown, written, size),
                image_jail.program(self._qemu_nbd, what),
                *("--socket", "/nbd/s", "--export-name", "disk", "--shared", "1", *mode, *bitmap, *depth),
                *("--discard", "unmap", "--detect-zeroes", "unmap"),
                images.json_of(chain),
            )
            async with started(
                command, environment={"LC_ALL": "C", "PATH": os.environ.get("PATH", "")}
            ) as process:
                connection = await _reach(process, Path(directory, "s"), what)
                everything = DEPTH if top else ALLOCATION
                context = everything if changes is None else CHANGES + _PREFIX + changes
                try:
                    blocks = await asyncio.to_thread(NbdBlocks, connection, "disk", context)
                except Unavailable as error:
                    raise await _words(process, what, error) from error
                try:
                    yield blocks
                finally:
                    await asyncio.to_thread(blocks.close)
                    await _end(process)

    async def checkpoints(self, disk: Volume | Image) -> frozenset[str]:
        return frozenset(name for name, whole in (await self._bitmaps(disk)).items() if whole)

    async def mark(self, disk: Volume | Image, checkpoint: str) -> None:
        if str(disk.format) != DiskFormat.QCOW2:
            return
        place = checkpoint.partition(".")[0]
        for other in await self._bitmaps(disk):
            if other.partition(".")[0] == place:
                await self._change(disk, "--remove", other)
        with contextlib.suppress(Unavailable):  # an image of the old version keeps none
            await self._change(disk, "--add", checkpoint, "-g", str(BLOCK))

    async def _change(self, disk: Volume | Image, verb: str, checkpoint: str, *more: str) -> None:
        what = f"the checkpoints of {images.called(disk)} can't be changed"
        top, *below = await touch(disk.path, images.chain_of, disk)
        size = await touch(top.path, os.path.getsize, top.path)
        words = ("bitmap", verb, *more, "--image-opts", _options(top), _PREFIX + checkpoint)
        try:
            await self._run(below, [top], words, what, size)
        except Failed as error:
            raise image_jail.reason(what, error) from error

    async def _bitmaps(self, disk: Volume | Image) -> dict[str, bool]:
        """Ours, each with whether all changes since are in it (qcow2.txt, "Bitmaps extension")."""
        if str(disk.format) != DiskFormat.QCOW2:
            return {}
        what = f"{images.called(disk)} can't be read"
        chain = await touch(disk.path, images.chain_of, disk)
        try:
            out = await self._run(chain, [], ("info", "--output=json", images.json_of(chain[:1])), what, 0)
            said = json.loads(out)["format-specific"]["data"].get("bitmaps", [])
            return {
                str(each["name"]).removeprefix(_PREFIX): "auto" in each["flags"] and "in-use" not in each["flags"]
                for each in said
                if str(each["name"]).startswith(_PREFIX)
            }
        except Failed as error:
            raise image_jail.reason(what, error) from error
        except (ValueError, KeyError, TypeError, AttributeError):
            return {}

    async def _run(
        self,
        shown: list[image_jail.Layer],
        written: list[image_jail.Layer],
        words: tuple[str, ...],
        what: str,
        size: int,
    ) -> str:
        command = (*image_jail.jail(shown, written, size), image_jail.program(self._qemu_img, what), *words)
        return await stream(*command, what=what, stalled_s=UP_S, listener=lambda part: None)


def _options(layer: image_jail.Layer) -> str:
    return f"driver={layer.format},file.driver=file,file.filename={layer.inside}"


async def _reach(process: asyncio.subprocess.Process, path: Path, what: str) -> socket.socket:
    """Once it listens; its own words if it ends before."""
    for _ in range(round(UP_S / _LOOK_S)):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(path))
            return connection
        except OSError:
            connection.close()
        if process.returncode is not None:
            assert process.stderr is not None
            raise _refused(what, (await process.stderr.read(4096)).decode(errors="replace"))
        await asyncio.sleep(_LOOK_S)
    raise Unavailable(f"{what}: nothing served it within {UP_S:g} s")


async def _words(process: asyncio.subprocess.Process, what: str, error: WirtError) -> WirtError:
    """Its own reason, if it is about to end."""
    assert process.stderr is not None
    try:
        async with asyncio.timeout(1.0):
            return _refused(what, (await process.stderr.read(4096)).decode(errors="replace"))
    except TimeoutError:
        return error


def _refused(what: str, said: str) -> WirtError:
    if "lock" in said:
        return ResourceBusy(f"{what}: someone has it open", hint="stop whoever has (fuser FILE)")
    return image_jail.reason(what, Failed("", plain(said), 1))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Its only client has gone: it flushes and closes the image, and goes by itself (qemu-nbd(8), ``-t``)."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(UP_S):
            await process.wait()
