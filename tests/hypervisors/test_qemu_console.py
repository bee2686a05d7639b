"""The console log by itself, with a file and a socket in the place of QEMU's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.hypervisors.qemu import console as console_module
from wirt.hypervisors.qemu import inotify, sockets
from wirt.hypervisors.qemu.console import ConsoleLog
from wirt.model.errors import IllegalState

from .rigs import eventually


class Qemu:
    """What QEMU does with a console: it writes to the socket, if anyone is there, and to the log."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "console.log"
        self._log.touch()
        self._listener = sockets.listen(directory / "console.sock")
        self._listener.setblocking(False)
        self.peer: socket.socket | None = None

    def accept(self) -> bool:
        """Whether someone has connected."""
        with contextlib.suppress(BlockingIOError):
            self.peer, _ = self._listener.accept()
        return self.peer is not None

    def print(self, data: bytes) -> None:
        if self.peer is not None:
            self.peer.setblocking(False)
            self.peer.send(data)
        with self._log.open("ab") as log:
            log.write(data)

    def read(self) -> bytes:
        assert self.peer is not None
        return self.peer.recv(100)

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


@pytest.mark.parametrize("told", ["by inotify", "by looking"])
async def test_a_reader_gets_what_was_and_what_comes(
    qemu: Qemu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    if told == "by looking":
        monkeypatch.setattr(inotify, "_watching", lambda file: -1)
    qemu.print(b"before ")
    log = ConsoleLog("guest", tmp_path)
    log.attach()
    reader = asyncio.create_task(wait_for_text(log, 0, 12))
    await asyncio.sleep(0.05)
    qemu.print(b"after")
    assert await asyncio.wait_for(reader, 5) == b"before after"
    log.end()
    assert [chunk async for chunk in log.follow(12)] == []
    with pytest.raises(IllegalState, match="console of guest is closed"):
        await log.write(b"x")


async def test_nothing_is_open_while_nobody_reads_or_types(qemu: Qemu, tmp_path: Path) -> None:
    log = ConsoleLog("guest", tmp_path)
    log.attach()
    before = open_files()
    for _ in range(3):
        reader = asyncio.create_task(wait_for_text(log, 0, 100))
        await asyncio.sleep(0)
        assert open_files() > before
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    assert open_files() == before
    assert not qemu.accept(), "QEMU sends a peer all output once more, so there is none"
    log.end()


async def test_the_socket_is_connected_by_a_key_and_left_when_it_was_taken(qemu: Qemu, tmp_path: Path) -> None:
    log = ConsoleLog("guest", tmp_path)
    log.attach()
    await log.write(b"typed ")
    assert qemu.accept()
    await log.write(b"early\n")
    await asyncio.sleep(0.4)
    assert qemu.peer is not None
    qemu.print(b"echo")
    assert qemu.read() == b"typed early\n", "what is not taken yet keeps the connection open"
    await eventually(lambda: qemu.peer is not None and hung_up(qemu.peer))
    qemu.peer.close()
    qemu.peer = None
    await log.write(b"again\n")
    assert qemu.accept()
    assert qemu.read() == b"again\n"
    log.end()
    assert qemu.peer is not None and hung_up(qemu.peer)


async def test_a_guest_that_prints_while_someone_types_is_not_stalled(qemu: Qemu, tmp_path: Path) -> None:
    log = ConsoleLog("guest", tmp_path)
    log.attach()
    await log.write(b"yes\n")
    assert qemu.accept()
    for _ in range(200):
        qemu.print(b"y\n" * 16 * 1024)
        await asyncio.sleep(0.025)
        if log.log.end > 4 << 20:
            break
    else:
        raise AssertionError("the socket is full, and nobody empties it")
    log.end()


async def test_a_reader_that_fell_behind_is_told_where_it_goes_on(qemu: Qemu, tmp_path: Path) -> None:
    log = ConsoleLog("guest", tmp_path, 100)
    log.attach()
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


async def test_who_types_is_told_at_once_when_the_domain_ends(qemu: Qemu, tmp_path: Path) -> None:
    log = ConsoleLog("guest", tmp_path)
    log.attach()
    before = open_files()
    typing = asyncio.create_task(log.write(b"x" * (8 << 20)))
    await asyncio.sleep(0.05)
    log.end()
    with pytest.raises(IllegalState, match="the domain has ended"):
        await asyncio.wait_for(typing, 5)
    assert open_files() == before


async def test_a_console_that_nobody_serves_is_closed(tmp_path: Path) -> None:
    (tmp_path / "console.log").touch()
    log = ConsoleLog("guest", tmp_path)
    log.attach()
    with pytest.raises(IllegalState, match="console of guest is closed"):
        await log.write(b"x")
    with pytest.raises(FileNotFoundError):
        ConsoleLog("guest", tmp_path / "nowhere").attach()


def hung_up(peer: socket.socket) -> bool:
    peer.setblocking(False)
    try:
        return peer.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
