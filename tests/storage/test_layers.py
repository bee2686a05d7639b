"""Layers of images go from one host to another byte for byte, or not at all."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Awaitable
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, ImageChanged, NotFound, Shortage, Unavailable, WirtError
from wirt.model.storage import Volume
from wirt.model.units import MIB
from wirt.peers.certificates import for_one_migration
from wirt.ports.layers import BLOCK, Content, LayerFiles
from wirt.ports.migration import Channel
from wirt.ports.virtual_clock import VirtualClock
from wirt.storage.fake import FakeMedium
from wirt.storage.fake_layers import FakeLayerFiles
from wirt.storage.layers import HostLayerFiles

T = TypeVar("T")


class Rig(Protocol):
    """Two hosts' worth of files. ``old`` holds something, ``new`` is there."""

    files: LayerFiles
    old: str
    new: str

    def change(self) -> None: ...

    def remove(self) -> None: ...

    async def waits(self, work: Awaitable[T]) -> T: ...


class RealRig:
    def __init__(self, directory: Path) -> None:
        self.files: LayerFiles = HostLayerFiles()
        self.old, self.new = str(directory / "old"), str(directory / "new")
        with Path(self.old).open("wb") as file:
            file.write(b"the first bytes")
            file.seek(5 * MIB + 12345)
            file.write(os.urandom(3 * BLOCK))
            file.truncate(64 * MIB + 7)
        Path(self.new).write_bytes(b"what it held before" * 10000)

    def change(self) -> None:
        with Path(self.old).open("r+b") as file:
            file.write(b"X")

    def remove(self) -> None:
        Path(self.old).unlink()

    async def waits(self, work: Awaitable[T]) -> T:
        return await work


class FakeRig:
    def __init__(self) -> None:
        self._clock = VirtualClock()
        self.old, self.new = "/fake/pool/old", "/fake/pool/new"
        self.medium = FakeMedium()
        for name, path in (("old", self.old), ("new", self.new)):
            self.medium.volumes[name] = Volume("pool", name, DiskFormat.RAW, 1 << 20, 0, path)
        self.medium.data[self.old] = {"what it holds": 1}
        self.files: LayerFiles = FakeLayerFiles({"pool": self.medium}, self._clock)

    def change(self) -> None:
        self.medium.data[self.old] = {"another": 2}

    def remove(self) -> None:
        del self.medium.volumes["old"]

    async def waits(self, work: Awaitable[T]) -> T:
        task = asyncio.ensure_future(work)
        while not task.done():
            await self._clock.advance(0.005)
            await asyncio.wait({task}, timeout=0.001)
        return task.result()


@pytest.fixture(params=["fake", "host"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    return FakeRig() if request.param == "fake" else RealRig(tmp_path)


def channels() -> tuple[Channel, Channel]:
    near, far = socket.socketpair()
    receiver, sender = for_one_migration()
    return Channel(near, sender), Channel(far, receiver)


async def go(rig: Rig, wanted: Content, *, bytes_per_s: int | None = None) -> tuple[object, object]:
    """What came of sending, and of receiving."""
    near, far = channels()
    send = rig.files.send(rig.old, wanted, near, lambda share: None, bytes_per_s=bytes_per_s)
    work = asyncio.gather(send, rig.files.receive(rig.new, wanted, far), return_exceptions=True)
    sent, received = await rig.waits(work)
    return sent, received


async def test_what_arrives_is_what_was_sent(rig: Rig) -> None:
    wanted = await rig.files.content(rig.old)
    assert await rig.files.length(rig.old) == wanted.length
    sent, received = await go(rig, wanted)
    assert received is None and isinstance(sent, int) and sent > 0
    assert await rig.files.content(rig.new) == wanted
    if isinstance(rig, RealRig):
        assert Path(rig.old).read_bytes() == Path(rig.new).read_bytes()
        assert sent <= 6 * BLOCK, "holes do not travel"
        assert Path(rig.new).stat().st_blocks * 512 < MIB, "nor are they filled"


async def test_one_that_has_changed_is_sent_to_nobody(rig: Rig) -> None:
    wanted = await rig.files.content(rig.old)
    rig.change()
    sent, received = await go(rig, wanted)
    assert isinstance(sent, ImageChanged)
    assert isinstance(received, WirtError)


async def test_one_that_is_gone_is_told_as_gone(rig: Rig) -> None:
    wanted = await rig.files.content(rig.old)
    rig.remove()
    sent, received = await go(rig, wanted)
    assert isinstance(sent, NotFound)
    assert isinstance(received, Unavailable)
    with pytest.raises(NotFound):
        await rig.files.content(rig.old)


async def test_a_stream_that_is_cut_ends_both(rig: Rig) -> None:
    wanted = await rig.files.content(rig.old)
    near, far = channels()
    far.stream.close()
    with pytest.raises(Unavailable):
        await rig.waits(rig.files.send(rig.old, wanted, near, lambda share: None))
    near, far = channels()
    near.stream.close()
    with pytest.raises(Unavailable):
        await rig.waits(rig.files.receive(rig.new, wanted, far))


async def test_a_cancelled_call_lets_go_of_its_stream(rig: Rig) -> None:
    wanted = await rig.files.content(rig.old)
    near, far = socket.socketpair()
    sending = asyncio.ensure_future(rig.files.receive(rig.new, wanted, Channel(far, None)))
    await asyncio.sleep(0.05)
    sending.cancel()
    await rig.waits(asyncio.gather(sending, return_exceptions=True))
    near.settimeout(5.0)
    assert near.recv(1) == b""


def test_the_digest_of_a_file_is_the_same_whether_its_zeros_are_holes_or_not(tmp_path: Path) -> None:
    sparse, dense = tmp_path / "sparse", tmp_path / "dense"
    with sparse.open("wb") as file:
        file.seek(MIB)
        file.write(b"data")
        file.truncate(2 * MIB)
    dense.write_bytes(sparse.read_bytes())
    files = HostLayerFiles()

    async def both() -> None:
        assert await files.content(str(sparse)) == await files.content(str(dense))
        dense.write_bytes(sparse.read_bytes() + b"\0")
        assert await files.content(str(sparse)) != await files.content(str(dense))

    asyncio.run(both())


async def test_no_faster_than_it_may(tmp_path: Path) -> None:
    rig = RealRig(tmp_path)
    loop = asyncio.get_running_loop()
    began = loop.time()
    sent, _ = await go(rig, await rig.files.content(rig.old), bytes_per_s=4 * BLOCK)
    assert isinstance(sent, int) and loop.time() - began >= sent / (4 * BLOCK)


def frame(number: int, data: bytes) -> bytes:
    return struct.pack(">QI", number, len(data)) + data


@pytest.mark.parametrize(
    "said",
    [
        frame(1 << 40, b"x" * BLOCK),
        frame(0, b"x" * BLOCK) + frame(0, b"x" * BLOCK),
        frame(0, b"short"),
        struct.pack(">QI", 0, 0xFFFFFFFF),
    ],
    ids=["past the end", "twice", "a part", "more than all"],
)
async def test_what_a_hostile_sender_says_is_refused(tmp_path: Path, said: bytes) -> None:
    target = tmp_path / "new"
    target.touch()
    near, far = socket.socketpair()
    near.sendall(said)
    with pytest.raises(BadInput):
        await HostLayerFiles().receive(str(target), Content(4 * BLOCK, "0" * 64), Channel(far, None))
    assert target.stat().st_size == 4 * BLOCK
    near.close()


async def test_what_came_whole_and_is_another_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "new"
    target.touch()
    near, far = socket.socketpair()
    near.sendall(frame(0, b"x" * BLOCK) + struct.pack(">QI", 4, 0))
    with pytest.raises(ImageChanged):
        await HostLayerFiles().receive(str(target), Content(4 * BLOCK, "0" * 64), Channel(far, None))
    near.close()


async def test_a_full_file_system_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = RealRig(tmp_path)
    wanted = await rig.files.content(rig.old)

    def full(*words: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    sent, received = await go(rig, wanted)
    assert isinstance(received, Shortage) and "pool" in (received.hint or "")
    assert isinstance(sent, Unavailable)


async def test_a_sender_without_this_migrations_certificate_is_not_heard(tmp_path: Path) -> None:
    rig = RealRig(tmp_path)
    wanted = await rig.files.content(rig.old)
    near, far = socket.socketpair()
    receiver, stranger = for_one_migration()[0], for_one_migration()[1]
    send = rig.files.send(rig.old, wanted, Channel(near, stranger), lambda share: None)
    work = asyncio.gather(send, rig.files.receive(rig.new, wanted, Channel(far, receiver)), return_exceptions=True)
    sent, received = await work
    assert isinstance(sent, Unavailable) and isinstance(received, Unavailable)
    assert Path(rig.new).read_bytes().startswith(b"what it held before")


async def test_links_are_not_followed(tmp_path: Path) -> None:
    secret, link = tmp_path / "secret", tmp_path / "link"
    secret.write_bytes(b"secret")
    link.symlink_to(secret)
    with pytest.raises(Unavailable):
        await HostLayerFiles().content(str(link))
