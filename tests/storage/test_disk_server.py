"""Disks of guests that are off, as bytes: by qemu-nbd in its jail, and in memory."""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, NotFound, ResourceBusy, Unavailable, WirtError
from wirt.model.storage import Image, ImageFormat, Volume
from wirt.ports.blocks import BLOCK
from wirt.ports.disk_server import DiskServer
from wirt.ports.nbd import NbdBlocks
from wirt.storage.disk_server import QemuDiskServer
from wirt.storage.fake_disks import FakeDiskServer

SIZE = 16 * BLOCK
both = pytest.mark.parametrize("server", [FakeDiskServer({}), QemuDiskServer()], ids=["fake", "qemu"])


def volume(path: Path, format_: DiskFormat = DiskFormat.QCOW2, *, size: int = SIZE) -> Volume:
    words = ["qemu-img", "create", "-q", "-f", str(format_), str(path), str(size)]
    subprocess.run(words, check=True, timeout=30)
    return Volume("p", path.stem, format_, size, 0, str(path))


async def written(server: DiskServer, disk: Volume, offset: int, data: bytes) -> None:
    async with server.serve(disk, writable=True) as blocks:
        await asyncio.to_thread(blocks.write, offset, data)
        await asyncio.to_thread(blocks.flush)


async def content(server: DiskServer, disk: Volume | Image) -> bytes:
    async with server.serve(disk) as blocks:
        return await asyncio.to_thread(blocks.read, 0, blocks.size)


@both
@pytest.mark.parametrize("format_", [DiskFormat.RAW, DiskFormat.QCOW2])
async def test_what_is_written_is_read(server: DiskServer, format_: DiskFormat, tmp_path: Path) -> None:
    disk = volume(tmp_path / "disk", format_)
    await written(server, disk, 3 * BLOCK + 7, b"x" * 100)
    expected = bytearray(SIZE)
    expected[3 * BLOCK + 7 : 3 * BLOCK + 107] = b"x" * 100
    assert await content(server, disk) == bytes(expected)


@both
async def test_an_image_keeps_checkpoints_and_a_raw_disk_none(server: DiskServer, tmp_path: Path) -> None:
    disk, raw = volume(tmp_path / "disk"), volume(tmp_path / "raw", DiskFormat.RAW)
    for each in (disk, raw):
        await server.mark(each, "t.one")
    assert await server.checkpoints(disk) == {"t.one"}
    assert await server.checkpoints(raw) == frozenset()
    await written(server, disk, 5 * BLOCK, b"y")
    async with server.serve(disk, changes="t.one") as blocks:
        found = await asyncio.to_thread(lambda: list(blocks.extents()))
    assert [(each.offset, each.length) for each in found] == [(5 * BLOCK, BLOCK)]
    await server.mark(disk, "t.two")
    assert await server.checkpoints(disk) == {"t.two"}
    async with server.serve(disk, changes="t.two") as blocks:
        assert await asyncio.to_thread(lambda: list(blocks.extents())) == []


async def test_only_what_is_there_is_told_of(tmp_path: Path) -> None:
    server, disk = QemuDiskServer(), volume(tmp_path / "disk", size=64 << 20)
    await written(server, disk, 8 << 20, b"x" * BLOCK)
    async with server.serve(disk) as blocks:
        assert sum(each.length for each in blocks.extents()) == BLOCK


async def test_a_volume_is_read_with_what_it_stands_on(tmp_path: Path) -> None:
    server, base = QemuDiskServer(), volume(tmp_path / "base")
    await written(server, base, 0, b"below")
    top = tmp_path / "top"
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base.path, "-F", "qcow2", str(top)]
    subprocess.run(words, check=True, timeout=30)  # noqa: ASYNC221
    above = Volume("p", "top", DiskFormat.QCOW2, SIZE, 0, str(top))
    assert (await content(server, above))[:5] == b"below"
    with pytest.raises(BadInput, match="stands on"):
        await content(server, Image(str(top), ImageFormat.QCOW2))


async def test_of_a_volume_that_stands_on_another_its_own_can_be_told_apart_and_its_zeroes_are_its_own(
    tmp_path: Path,
) -> None:
    server, base = QemuDiskServer(), volume(tmp_path / "base")
    await written(server, base, 0, b"below" * BLOCK)
    top = tmp_path / "top"
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base.path, "-F", "qcow2", str(top), str(2 * SIZE)]
    subprocess.run(words, check=True, timeout=30)  # noqa: ASYNC221
    above = Volume("p", "top", DiskFormat.QCOW2, 2 * SIZE, 0, str(top))
    await written(server, above, 2 * BLOCK, bytes(BLOCK))
    await written(server, above, SIZE + 4 * BLOCK, b"above")
    async with server.serve(above, top=True) as blocks:
        found = await asyncio.to_thread(lambda: list(blocks.extents()))
        assert [(each.offset, each.length) for each in found] == [(2 * BLOCK, BLOCK), (SIZE + 4 * BLOCK, BLOCK)]
        assert await asyncio.to_thread(blocks.read, 2 * BLOCK, BLOCK) == bytes(BLOCK)
    async with server.serve(volume(tmp_path / "empty"), top=True) as blocks:
        assert await asyncio.to_thread(lambda: list(blocks.extents())) == []


async def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    server, disk = QemuDiskServer(), volume(tmp_path / "disk")
    with pytest.raises(NotFound):
        await content(server, Volume("p", "x", DiskFormat.RAW, SIZE, 0, str(tmp_path / "missing")))
    Path(disk.path).write_bytes(b"QFI\xfb" + bytes(200))
    with pytest.raises(WirtError):
        await content(server, disk)


async def test_a_disk_that_someone_writes_is_busy(tmp_path: Path) -> None:
    server, disk = QemuDiskServer(), volume(tmp_path / "disk")
    async with server.serve(disk, writable=True):
        with pytest.raises(ResourceBusy):
            await content(server, disk)
    assert len(await content(server, disk)) == SIZE


# A server that lies


def greeting(size: int = SIZE) -> bytes:
    def option(number: int, kind: int, data: bytes = b"") -> bytes:
        return struct.pack(">QIII", 0x3E889045565A9, number, kind, len(data)) + data

    return (
        struct.pack(">QQH", 0x4E42444D41474943, 0x49484156454F5054, 3)
        + option(8, 1)
        + option(10, 4, struct.pack(">I", 1) + b"base:allocation")
        + option(10, 1)
        + option(7, 3, struct.pack(">HQH", 0, size, 0))
        + option(7, 1)
    )


def chunk(kind: int, data: bytes, *, handle: int = 1, done: bool = True, length: int | None = None) -> bytes:
    size = len(data) if length is None else length
    return struct.pack(">IHHQI", 0x668E33EF, int(done), kind, handle, size) + data


LIES = {
    "another magic": greeting().replace(b"NBDMAGIC", b"NBDMAGIK"),
    "no size": greeting(0),
    "a size beyond all disks": greeting(1 << 62),
    "an option's answer without end": struct.pack(">QQH", 0x4E42444D41474943, 0x49484156454F5054, 3)
    + struct.pack(">QIII", 0x3E889045565A9, 8, 1, 1 << 31),
    "data that was not asked for": greeting() + chunk(1, struct.pack(">Q", 1 << 40) + b"x" * 512),
    "data before what was asked for": greeting() + chunk(1, struct.pack(">Q", 0) + b"x" * 1024),
    "less than was asked for": greeting() + chunk(1, struct.pack(">Q", 512) + b"x" * 100),
    "an answer to another question": greeting() + chunk(1, struct.pack(">Q", 512) + b"x" * 512, handle=7),
    "an answer without end": greeting() + chunk(1, b"", length=1 << 31),
    "a hole that is too large": greeting() + chunk(2, struct.pack(">QI", 512, 1 << 31)),
    "nothing at all": b"",
    "half a greeting": greeting()[:30],
}


def lied_to(said: bytes, use: Callable[[NbdBlocks], object]) -> None:
    ours, theirs = socket.socketpair()

    def lie() -> None:
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=lie)
    thread.start()
    try:
        use(NbdBlocks(ours, "disk"))
    finally:
        ours.close()
        thread.join()
        theirs.close()


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies_is_given_up(lie: str) -> None:
    with pytest.raises(Unavailable):
        lied_to(LIES[lie], lambda blocks: blocks.read(512, 512))


@pytest.mark.parametrize(
    "status", [b"", b"\0" * 4, struct.pack(">III", 1, 0, 0), struct.pack(">IIIB", 1, 512, 0, 1)], ids=range(4)
)
def test_a_map_of_a_disk_that_makes_no_sense_is_given_up(status: bytes) -> None:
    with pytest.raises(Unavailable):
        lied_to(greeting() + chunk(5, status), lambda blocks: list(blocks.extents()))


def test_an_honest_answer_is_taken() -> None:
    said = greeting() + chunk(1, struct.pack(">Q", 512) + b"x" * 512)
    lied_to(said, lambda blocks: blocks.read(512, 512))
