"""A client of the NBD protocol (NetworkBlockDevice/nbd, doc/proto.md), for both those who serve disks to wirt:
QEMU that runs a guest, and qemu-nbd for the disks of one that is off.

The server may have been taken over by a guest: what it says is read strictly and in bounds, and no wait is longer
than :data:`SILENCE_S`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NoReturn

from wirt.model.errors import Shortage, Unavailable
from wirt.ports.blocks import Extent

SILENCE_S = 60.0
MOST_READ = 4 * 1024 * 1024
ALLOCATION = "base:allocation"
CHANGES = "qemu:dirty-bitmap:"
DEPTH = "qemu:allocation-depth"
"""Of what the topmost image has it is 1 (QEMU, docs/interop/nbd.txt)."""

_MAGIC, _OPTIONS = 0x4E42444D41474943, 0x49484156454F5054
_OPTION_REPLY = 0x3E889045565A9
_REQUEST, _SIMPLE, _STRUCTURED = 0x25609513, 0x67446698, 0x668E33EF
_GO, _STRUCTURED_REPLY, _SET_META = 7, 8, 10
_ACK, _INFO, _META, _ERROR = 1, 3, 4, 1 << 31
_READ, _WRITE, _DISC, _FLUSH, _STATUS = 0, 1, 2, 3, 7
_DONE, _DATA, _HOLE, _BLOCK_STATUS = 1, 1, 2, 5
_NONE = 0
_ZERO, _DIRTY, _TOPMOST = 2, 1, 1
_MOST_REPLY = MOST_READ + 64
_MOST_INFO = 64 * 1024
_STATUS_BYTES = 1 << 30


class NbdBlocks:
    """One export. ``context`` says what :meth:`extents` are: :data:`ALLOCATION`, :data:`DEPTH`, or :data:`CHANGES`
    with a name."""

    def __init__(self, connection: socket.socket, export: str, context: str = ALLOCATION) -> None:
        self._socket = connection
        self._name = export
        self._context = context
        self._handle = 0
        self._size = 0
        connection.settimeout(SILENCE_S)
        try:
            self._negotiate()
        except BaseException:
            connection.close()
            raise

    @property
    def size(self) -> int:
        return self._size

    def extents(self) -> Iterator[Extent]:
        offset, begun, end = 0, 0, 0
        while offset < self._size:
            length = min(_STATUS_BYTES, self._size - offset)
            for part, flags in self._status(offset, length):
                wanted = self._wanted(flags)
                if wanted and offset == end:
                    end += part
                elif wanted:
                    if end > begun:
                        yield Extent(begun, end - begun)
                    begun, end = offset, offset + part
                offset += part
        if end > begun:
            yield Extent(begun, end - begun)

    def _wanted(self, flags: int) -> bool:
        if self._context == DEPTH:
            return flags == _TOPMOST
        return not flags & _ZERO if self._context == ALLOCATION else bool(flags & _DIRTY)

    def read(self, offset: int, length: int) -> bytes:
        if length > MOST_READ:
            return b"".join(
                self.read(at, min(MOST_READ, offset + length - at))
                for at in range(offset, offset + length, MOST_READ)
            )
        self._ask(_READ, offset, length)
        data = bytearray(length)
        left = length
        for kind, content in self._chunks():
            if kind == _DATA and len(content) > 8:
                (at,) = struct.unpack_from(">Q", content)
                part = memoryview(content)[8:]
                self._check(offset <= at and at + len(part) <= offset + length)
                data[at - offset : at - offset + len(part)] = part
                left -= len(part)
            elif kind == _HOLE and len(content) == 12:
                at, size = struct.unpack(">QI", content)
                self._check(offset <= at and at + size <= offset + length)
                left -= size
            else:
                self._check(kind == _NONE)
        self._check(left == 0)
        return bytes(data)

    def write(self, offset: int, data: bytes) -> None:
        for at in range(0, len(data), MOST_READ):
            part = data[at : at + MOST_READ]
            self._ask(_WRITE, offset + at, len(part), part)
            self._settle()

    def flush(self) -> None:
        self._ask(_FLUSH, 0, 0)
        self._settle()

    def close(self) -> None:
        with contextlib.suppress(OSError, Unavailable):
            self._ask(_DISC, 0, 0)
        self._socket.close()

    # The handshake

    def _negotiate(self) -> None:
        magic, options, flags = struct.unpack(">QQH", self._receive(18))
        self._check(magic == _MAGIC and options == _OPTIONS and flags & 1 == 1)
        self._send(struct.pack(">I", flags & 3))
        self._option(_STRUCTURED_REPLY, b"")
        self._check(self._option_reply(_STRUCTURED_REPLY)[0] == _ACK)
        export, context = self._name.encode(), self._context.encode()
        named = struct.pack(">I", len(export)) + export
        self._option(_SET_META, named + struct.pack(">II", 1, len(context)) + context)
        kind, content = self._option_reply(_SET_META)
        self._check(kind == _META and content[4:] == context)
        self._check(self._option_reply(_SET_META)[0] == _ACK)
        self._option(_GO, named + struct.pack(">H", 0))
        while (reply := self._option_reply(_GO))[0] == _INFO:
            if reply[1][:2] == b"\0\0":
                self._check(len(reply[1]) == 12)
                (self._size,) = struct.unpack_from(">Q", reply[1], 2)
        self._check(reply[0] == _ACK and 0 < self._size < 1 << 60)

    def _option(self, option: int, content: bytes) -> None:
        self._send(struct.pack(">QII", _OPTIONS, option, len(content)) + content)

    def _option_reply(self, wanted: int) -> tuple[int, bytes]:
        magic, option, kind, length = struct.unpack(">QIII", self._receive(20))
        self._check(magic == _OPTION_REPLY and option == wanted and length <= _MOST_INFO)
        content = self._receive(length)
        if kind & _ERROR:
            raise Unavailable(f"{self._name} is not served")
        return kind, content

    # Requests

    def _ask(self, command: int, offset: int, length: int, data: bytes = b"") -> None:
        self._handle += 1
        self._send(struct.pack(">IHHQQI", _REQUEST, 0, command, self._handle, offset, length) + data)

    def _status(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        self._ask(_STATUS, offset, length)
        found: list[tuple[int, int]] = []
        for kind, content in self._chunks():
            if kind == _BLOCK_STATUS:
                self._check(len(content) >= 12 and len(content) % 8 == 4)
                found += struct.iter_unpack(">II", content[4:])
            else:
                self._check(kind == _NONE)
        self._check(bool(found) and all(part > 0 for part, _ in found))
        left = length
        for part, flags in found:
            if left > 0:
                yield min(part, left), flags
            left -= part

    def _settle(self) -> None:
        for kind, _ in self._chunks():
            self._check(kind == _NONE)

    def _chunks(self) -> Iterator[tuple[int, bytes]]:
        """The parts of the answer to the request just made."""
        done = False
        while not done:
            (magic,) = struct.unpack(">I", self._receive(4))
            if magic == _SIMPLE:
                error, handle = struct.unpack(">IQ", self._receive(12))
                self._check(handle == self._handle)
                if error:
                    self._refused(error)
                return
            self._check(magic == _STRUCTURED)
            flags, kind, handle, length = struct.unpack(">HHQI", self._receive(16))
            self._check(handle == self._handle and length <= _MOST_REPLY)
            content = self._receive(length)
            done = bool(flags & _DONE)
            if kind & 1 << 15:
                self._check(length >= 4)
                self._refused(struct.unpack_from(">I", content)[0])
            yield kind, content

    def _refused(self, error: int) -> NoReturn:
        words = os.strerror(error)
        if error in (errno.ENOSPC, errno.EDQUOT):
            raise Shortage(f"{self._name}: {words}", hint="wirt pool list shows how full the pools are")
        raise Unavailable(f"{self._name} can't be read or written: {words}")

    # Bytes

    def _check(self, sound: bool) -> None:
        if not sound:
            raise Unavailable(f"who serves {self._name} says what makes no sense")

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._gone(error) from error

    def _receive(self, length: int) -> bytes:
        data = bytearray(length)
        view, at = memoryview(data), 0
        while at < length:
            try:
                got = self._socket.recv_into(view[at:])
            except OSError as error:
                raise self._gone(error) from error
            if got == 0:
                raise Unavailable(f"who serves {self._name} has gone")
            at += got
        return bytes(data)

    def _gone(self, error: OSError) -> Unavailable:
        if isinstance(error, TimeoutError):
            return Unavailable(f"who serves {self._name} did not answer for {SILENCE_S:g} s")
        return Unavailable(f"who serves {self._name} has gone: {error.strerror}")
