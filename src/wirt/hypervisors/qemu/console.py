"""A guest's console: QEMU appends every byte to a log, and this reads it there.

QEMU itself keeps the log, so output is drained and kept whether a daemon runs or not. Readers are told by the file
system. The console's socket is connected only until QEMU has taken what was typed: it sends a connected peer every
byte that the guest prints a second time, and when the socket is full (277 bytes of a serial port are enough) it
stalls the guest and writes the byte to the log once for each attempt (QEMU, chardev/char.c,
qemu_chr_write_buffer; hw/char/serial.c, serial_xmit).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import AsyncIterator
from pathlib import Path

from wirt.hypervisors.qemu import sockets
from wirt.hypervisors.qemu.inotify import FileWatch
from wirt.hypervisors.qemu.logs import GrowingLog
from wirt.model.errors import IllegalState, Shortage
from wirt.ports.hypervisor import ConsoleChunk

RING_BYTES = 1024 * 1024
CHUNK_BYTES = 64 * 1024
WRITE_S = 10.0
_SETTLE_S = 0.02
_FIRST_LOOK_S = 0.002
_RAREST_LOOK_S = 0.25
"""Whether all was taken is asked at once, and then ever more rarely: a guest in its boot may not read for long."""


class ConsoleLog:
    """The console of one run. Any number of readers; each has only its offset."""

    def __init__(self, name: str, directory: Path, ring_bytes: int | None = None) -> None:
        self.log = GrowingLog(directory / "console.log", RING_BYTES if ring_bytes is None else ring_bytes)
        self._name = name
        self._ended = False
        self._changed = asyncio.Event()
        self._followers = 0
        self._watch: FileWatch | None = None
        self._next: ConsoleLog | None = None
        self._keyboard = Keyboard(directory / "console.sock")

    def attach(self) -> None:
        """``OSError`` if there is no log: QEMU makes it before it answers."""
        self.log.open()

    def detach(self) -> None:
        self._keyboard.close()
        self._stop_watching()

    def end(self) -> None:
        """The run is over: readers get what is left, and then their end."""
        self._ended = True
        self.detach()
        self._wake()

    def go_on_from(self, old: ConsoleLog) -> None:
        """The guest of ``old``, which stands still, goes on here: offsets go on where they were, and so do those
        who follow. ``OSError`` if what it printed can't be kept."""
        try:
            self.log.go_on_from(old.log)
        finally:
            old._next = self
            old.detach()
            old._wake()

    def begin_from(self, offset: int, data: bytes) -> None:
        try:
            if self.log.end:
                raise IllegalState(f"{self._name} has printed something here already")
            self.log.begin_from(offset, data)
        except OSError as error:
            raise Shortage(
                f"{self._name}: what it printed before can't be kept: {error.strerror}", hint="make room"
            ) from error
        self._wake()

    def read(self, offset: int) -> ConsoleChunk:
        if self._next is not None:
            return self._next.read(offset)
        start = self.log.end if offset < 0 else offset
        return ConsoleChunk(*self.log.read(start, CHUNK_BYTES))

    async def follow(self, offset: int) -> AsyncIterator[ConsoleChunk]:
        if offset < 0:
            offset = self.log.end
        self._followers += 1
        try:
            while True:
                if self._next is not None:
                    async for chunk in self._next.follow(offset):
                        yield chunk
                    return
                # Taken before the read: what comes in between wakes us.
                changed, ended = self._changed, self._ended
                self._start_watching()
                chunk = self.read(offset)
                if chunk.data:
                    offset = chunk.offset + len(chunk.data)
                    yield chunk
                elif ended:
                    return
                else:
                    await changed.wait()
        finally:
            self._followers -= 1
            if not self._followers:
                self._stop_watching()

    async def write(self, data: bytes) -> None:
        if self._next is not None:
            await self._next.write(data)
            return
        closed = f"the console of {self._name} is closed: the domain has ended"
        if self._ended:
            raise IllegalState(closed)
        try:
            await asyncio.wait_for(self._keyboard.type(data), WRITE_S)
        except TimeoutError as error:
            raise IllegalState(
                f"{self._name} does not read its console: it took nothing for {WRITE_S:g} s"
            ) from error
        except OSError as error:
            raise IllegalState(closed) from error

    def _start_watching(self) -> None:
        if self._watch is None and not self._ended:
            self._watch = FileWatch(self.log.open(), self._wake, _SETTLE_S)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Keyboard:
    """The way into a console socket, connected when someone types, and left when QEMU has taken it. QEMU takes one
    connection at a time, and this is it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._typing = asyncio.Lock()
        self._look: asyncio.TimerHandle | None = None

    async def type(self, data: bytes) -> None:
        """Returns when the kernel has it. ``OSError`` when nobody takes it any more."""
        async with self._typing:
            if self._socket is None:
                self._connect()
            assert self._socket is not None
            connection = self._socket
            try:
                await asyncio.get_running_loop().sock_sendall(connection, data)
            except OSError:
                self.close()
                raise
            finally:
                if self._socket is connection:
                    self._leave_when_taken(_FIRST_LOOK_S)
                else:
                    connection.close()

    def close(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
        connection, self._socket = self._socket, None
        if connection is None:
            return
        asyncio.get_running_loop().remove_reader(connection)
        if self._typing.locked():
            # The loop still waits for it to take more: that ends now, and whoever types closes it.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        else:
            connection.close()

    def _connect(self) -> None:
        self._socket = sockets.connect(self._path)
        asyncio.get_running_loop().add_reader(self._socket, self._drain)

    def _leave_when_taken(self, after_s: float) -> None:
        """QEMU drops what it has not yet read when its peer goes, and it reads only as fast as the guest."""
        if self._look is not None:
            self._look.cancel()
        self._look = asyncio.get_running_loop().call_later(after_s, self._leave_or_wait, after_s)

    def _leave_or_wait(self, waited_s: float) -> None:
        if self._socket is None or self._typing.locked():
            return  # whoever types looks again
        if _untaken_bytes(self._socket):
            self._leave_when_taken(min(2 * waited_s, _RAREST_LOOK_S))
        else:
            self.close()

    def _drain(self) -> None:
        """Take what is sent and throw it away: it stands in the log."""
        assert self._socket is not None
        try:
            gone = not self._socket.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            gone = True
        if gone:
            self.close()


def _untaken_bytes(connection: socket.socket) -> int:
    """What was sent and has not been read by the other side (unix(7), SIOCOUTQ; the same number as TIOCOUTQ)."""
    answer = fcntl.ioctl(connection, termios.TIOCOUTQ, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])
