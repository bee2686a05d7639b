"""A guest's console: QEMU appends every byte to a log, and this reads it there.

QEMU itself keeps the log, so output is drained and kept whether a daemon runs or not. The connection to the
console socket carries what people type, and its output only wakes the readers: the log alone is believed. The
log is a ring without a wrap: its oldest part is given back to the file system as a hole, so offsets count
from the guest's first byte for ever.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from collections.abc import AsyncIterator
from io import FileIO
from pathlib import Path

from wirt.hypervisors.qemu import sockets
from wirt.model.errors import IllegalState
from wirt.ports.hypervisor import ConsoleChunk

RING_BYTES = 1024 * 1024
CHUNK_BYTES = 64 * 1024
PUNCH_STEP_BYTES = 256 * 1024
WRITE_S = 10.0
_SETTLE_S = 0.02
"""Output is gathered for so long. QEMU sends to the socket first and writes the log just after."""
_MOST_BYTES = 16 * CHUNK_BYTES

_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class ConsoleLog:
    """The console of one run. Any number of readers; each has only its offset."""

    def __init__(self, name: str, directory: Path, ring_bytes: int = RING_BYTES) -> None:
        self._name = name
        self._log = directory / "console.log"
        self._socket_path = directory / "console.sock"
        self._ring_bytes = ring_bytes
        self._punched = 0
        self._ended = False
        self._changed = asyncio.Event()
        self._socket: socket.socket | None = None
        self._file: FileIO | None = None
        self._settle: asyncio.TimerHandle | None = None

    def attach(self) -> None:
        """Connect to the console socket. QEMU takes one connection at a time, and this is it."""
        self._open_log()
        self._socket = sockets.connect(self._socket_path)
        asyncio.get_running_loop().add_reader(self._socket, self._output_came)
        self._trim()

    def detach(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        if self._settle is not None:
            self._settle.cancel()

    def end(self) -> None:
        """The run is over: readers get what is left, and then their end."""
        self.detach()
        self._ended = True
        self._wake()

    @property
    def size(self) -> int:
        return os.fstat(self._open_log()).st_size

    def read(self, offset: int) -> ConsoleChunk:
        size = self.size
        oldest = max(0, size - self._ring_bytes)
        start = size if offset < 0 else min(max(offset, oldest), size)
        if start == size:
            return ConsoleChunk(start, b"")
        return ConsoleChunk(start, os.pread(self._open_log(), min(CHUNK_BYTES, size - start), start))

    async def follow(self, offset: int) -> AsyncIterator[ConsoleChunk]:
        if offset < 0:
            offset = self.size
        while True:
            # Taken before the read: what comes in between wakes us.
            changed, ended = self._changed, self._ended
            chunk = self.read(offset)
            if chunk.data:
                offset = chunk.offset + len(chunk.data)
                yield chunk
            elif ended:
                return
            else:
                await changed.wait()

    async def write(self, data: bytes) -> None:
        if self._socket is None:
            raise IllegalState(f"the console of {self._name} is closed: the domain has ended")
        loop = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(loop.sock_sendall(self._socket, data), WRITE_S)
        except TimeoutError as error:
            raise IllegalState(
                f"{self._name} does not read its console: it took nothing for {WRITE_S:g} s"
            ) from error
        except OSError as error:
            raise IllegalState(f"the console of {self._name} is closed: the domain has ended") from error

    def _open_log(self) -> int:
        """Opened once and kept, so that the last words can be read when the run's directory is gone. QEMU makes
        the file before it answers."""
        if self._file is None:
            self._file = self._log.open("rb", buffering=0)
        return self._file.fileno()

    def _output_came(self) -> None:
        """Look away for a moment: a boot prints in hundreds of small bursts, and each would wake the daemon."""
        assert self._socket is not None
        asyncio.get_running_loop().remove_reader(self._socket)
        self._settle = asyncio.get_running_loop().call_later(_SETTLE_S, self._settled)

    def _settled(self) -> None:
        self._settle = None
        if self._socket is not None:
            self._look_again(self._socket)
        self._trim()
        self._wake()

    def _look_again(self, console: socket.socket) -> None:
        """Whatever was taken now may not be in the log yet: only when nothing came is it time to sleep."""
        loop = asyncio.get_running_loop()
        taken = 0
        try:
            while taken < _MOST_BYTES and (data := console.recv(CHUNK_BYTES)):
                taken += len(data)
            ended = taken < _MOST_BYTES
        except BlockingIOError:
            ended = False
        except ConnectionError:
            ended = True
        if ended:
            self.detach()
        elif taken:
            self._settle = loop.call_later(_SETTLE_S, self._settled)
        else:
            loop.add_reader(console, self._output_came)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _trim(self) -> None:
        """Give the file system back what fell out of the ring, in steps worth a system call."""
        oldest = self.size - self._ring_bytes
        if oldest - self._punched < PUNCH_STEP_BYTES:
            return
        oldest -= oldest % 4096
        punch_hole(self._log, oldest)
        self._punched = oldest


def punch_hole(path: Path, length: int) -> bool:
    """Free the first ``length`` bytes of ``path``, which keeps its size (fallocate(2)). False where the file
    system can't: then the file just stays larger."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        mode = _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE
        return bool(_libc.fallocate(descriptor, mode, 0, length) == 0)
    finally:
        os.close(descriptor)
