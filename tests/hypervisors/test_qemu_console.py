"""The console log by itself, with a file and a socket in the place of QEMU's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.hypervisors.qemu import console as console_module
from wirt.hypervisors.qemu import sockets
from wirt.hypervisors.qemu.console import ConsoleLog, punch_hole
from wirt.model.errors import IllegalState

RING = 64 * 1024


class Qemu:
    """What QEMU does with a console: it writes to the socket, if anyone is there, and to the log."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "console.log"
        self._log.touch()
        self._listener = sockets.listen(directory / "console.sock")
        self.peer: socket.socket | None = None

    def accept(self) -> None:
        self.peer, _ = self._listener.accept()

    def print(self, data: bytes) -> None:
        if self.peer is not None:
            self.peer.setblocking(False)
            self.peer.send(data)
        with self._log.open("ab") as log:
            log.write(data)

    @property
    def disk_bytes(self) -> int:
        return self._log.stat().st_blocks * 512

    def close(self) -> None:
        self._listener.close()
        if self.peer is not None:
            self.peer.close()


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[Qemu]:
    made = Qemu(tmp_path)
    yield made
    made.close()


async def wait_for_text(log: ConsoleLog, offset: int, size: int) -> bytes:
    text = b""
    async for chunk in log.follow(offset):
        text += chunk.data
        if len(text) >= size:
            break
    return text


async def test_a_reader_gets_what_was_and_what_comes(qemu: Qemu, tmp_path: Path) -> None:
    qemu.print(b"before ")
    log = ConsoleLog("guest", tmp_path)
    log.attach()
    qemu.accept()
    qemu.print(b"after")
    assert await asyncio.wait_for(wait_for_text(log, 0, 12), 5) == b"before after"
    await log.write(b"typed\n")
    assert qemu.peer is not None
    assert qemu.peer.recv(100) == b"typed\n"
    log.end()
    assert [chunk async for chunk in log.follow(12)] == []
    with pytest.raises(IllegalState, match="console of guest is closed"):
        await log.write(b"x")


async def test_the_log_is_bounded_on_disk_and_offsets_go_on_for_ever(
    qemu: Qemu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_module, "PUNCH_STEP_BYTES", 16 * 1024)
    log = ConsoleLog("guest", tmp_path, RING)
    log.attach()
    qemu.accept()
    block = b"".join(b"%07d\n" % number for number in range(1024))
    reader = asyncio.create_task(wait_for_text(log, 0, 100 * len(block)))
    for _ in range(100):
        qemu.print(block)
        await asyncio.sleep(0.01)
    assert await asyncio.wait_for(reader, 5) == block * 100, "a reader that keeps up misses nothing"
    chunk = log.read(0)
    assert chunk.offset == 100 * len(block) - RING
    assert chunk.data == (block * 8)[:RING]
    await asyncio.sleep(0.05)
    if punch_hole(tmp_path / "console.log", 0) or qemu.disk_bytes < 100 * len(block):
        assert qemu.disk_bytes <= RING + 32 * 1024
    assert log.read(chunk.offset + 5).data[:3] == block[5:8]
    log.end()
    monkeypatch.undo()
    new = ConsoleLog("guest", tmp_path, RING)
    assert new.read(0).offset == chunk.offset, "a new daemon sees the same offsets"


async def test_a_reader_that_fell_behind_is_told_where_it_goes_on(qemu: Qemu, tmp_path: Path) -> None:
    log = ConsoleLog("guest", tmp_path, 100)
    log.attach()
    qemu.accept()
    qemu.print(b"x" * 50)
    slow = log.follow(0)
    first = await anext(slow)
    assert (first.offset, len(first.data)) == (0, 50)
    qemu.print(b"y" * 500)
    second = await anext(slow)
    assert second.offset == 450, "the gap shows in the offset"
    assert second.data == b"y" * 100
    log.end()


async def test_what_was_printed_last_is_read_after_the_end_and_without_the_directory(
    qemu: Qemu, tmp_path: Path
) -> None:
    log = ConsoleLog("guest", tmp_path)
    log.attach()
    qemu.accept()
    reader = asyncio.create_task(wait_for_text(log, 0, 1000))
    await asyncio.sleep(0.02)
    qemu.print(b"last words")
    (tmp_path / "console.log").unlink()
    log.end()
    assert await asyncio.wait_for(reader, 5) == b"last words"


async def test_a_guest_that_does_not_read_is_said_to(
    qemu: Qemu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_module, "WRITE_S", 0.2)
    log = ConsoleLog("guest", tmp_path)
    log.attach()
    with pytest.raises(IllegalState, match="does not read its console"):
        await log.write(b"x" * (8 << 20))
    log.end()


async def test_a_log_that_goes_away_stops_nothing(
    qemu: Qemu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_module, "PUNCH_STEP_BYTES", 1)
    log = ConsoleLog("guest", tmp_path, 4096)
    log.attach()
    qemu.accept()
    qemu.print(b"x" * 8192)
    (tmp_path / "console.log").unlink()
    await asyncio.sleep(0.05)
    assert len(await asyncio.wait_for(wait_for_text(log, 0, 4096), 5)) == 4096
    log.end()
