"""One disk, to be read by whoever holds the other end of a socket, who is told where it holds nothing: so a disk
of terabytes with a megabyte in it is copied at once. Reads and block status of the NBD protocol and nothing else
(nbd, doc/proto.md: "Fixed newstyle negotiation", "Structured reply", "Metadata querying")."""

from __future__ import annotations

import socket
import struct

from wirt.model.errors import BadInput
from wirt.storage.appliances.slices import SECTOR, Readable

_GREETING, _OPTION, _ANSWER = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
_FIXED_NO_ZEROES = 3
_ABORT, _INFO, _GO, _STRUCTURED, _SET_CONTEXT = 2, 6, 7, 8, 10
_ACK, _SAYS_INFO, _SAYS_CONTEXT, _UNSUPPORTED = 1, 3, 4, 0x80000001
_HAS_FLAGS_READ_ONLY = 3
_ALLOCATION, _CONTEXT_ID = b"base:allocation", 1
_REQUEST, _SIMPLE, _CHUNK = 0x25609513, 0x67446698, 0x668E33EF
_READ, _DISCONNECT, _BLOCK_STATUS = 0, 2, 7
_DONE, _DATA, _STATUS, _ERROR = 1, 1, 5, 0x8001
_HOLE_ZERO = 3
_IO_ERROR, _INVALID = 5, 22
_MOST_READ, _MOST_OPTION = 32 * 1024 * 1024, 64 * 1024
_MOST_STATUS = 1 << 31


def serve(disk: Readable, link: socket.socket) -> None:
    """Until the other side has gone. ``BadInput`` if the disk is damaged: the other side is told of an error."""
    server = _Server(disk, link)
    if server.negotiate():
        while server.answer():
            pass


class _Server:
    def __init__(self, disk: Readable, link: socket.socket) -> None:
        self._disk = disk
        self._link = link
        self._size = -(-disk.size // SECTOR) * SECTOR
        self._structured = False

    def negotiate(self) -> bool:
        """Whether the other side goes on to read."""
        self._link.sendall(_GREETING + _OPTION + struct.pack(">H", _FIXED_NO_ZEROES))
        if len(self._receive(4)) < 4:
            return False
        while True:
            head = self._receive(16)
            if len(head) < 16 or head[:8] != _OPTION:
                return False
            option, length = struct.unpack(">II", head[8:])
            if length > _MOST_OPTION:
                return False
            data = self._receive(length)
            if option == _ABORT:
                self._say(option, _ACK)
                return False
            self._option(option, data)
            if option == _GO:
                return True

    def _option(self, option: int, data: bytes) -> None:
        if option == _STRUCTURED:
            self._structured = True
        elif option == _SET_CONTEXT:
            if _ALLOCATION in data:
                self._say(option, _SAYS_CONTEXT, struct.pack(">I", _CONTEXT_ID) + _ALLOCATION)
        elif option in (_INFO, _GO):
            self._say(option, _SAYS_INFO, struct.pack(">HQH", 0, self._size, _HAS_FLAGS_READ_ONLY))
        else:
            self._say(option, _UNSUPPORTED)
            return
        self._say(option, _ACK)

    def answer(self) -> bool:
        """One request. Whether there may be more."""
        request = self._receive(28)
        if len(request) < 28:
            return False
        magic, _, kind, handle, offset, length = struct.unpack(">IHHQQI", request)
        if magic != _REQUEST or kind == _DISCONNECT:
            return False
        if not 0 < length <= self._size - offset:
            self._fail(handle, _INVALID)
        elif kind == _READ and length <= _MOST_READ:
            self._read(handle, offset, length)
        elif kind == _BLOCK_STATUS and self._structured:
            extent, empty = self._disk.extent(offset, min(length, _MOST_STATUS))
            # Of the last sector, which may be more than the disk has, nobody is told less than all.
            extent = min(length, -(-extent // SECTOR) * SECTOR)
            status = struct.pack(">III", _CONTEXT_ID, extent, _HOLE_ZERO if empty else 0)
            self._chunk(handle, _STATUS, status)
        else:
            self._fail(handle, _INVALID)
        return True

    def _read(self, handle: int, offset: int, length: int) -> None:
        try:
            data = self._disk.read(offset, length)
        except (BadInput, OSError):
            self._fail(handle, _IO_ERROR)
            raise
        if self._structured:
            self._chunk(handle, _DATA, struct.pack(">Q", offset), data)
        else:
            self._link.sendall(struct.pack(">IIQ", _SIMPLE, 0, handle))
            self._link.sendall(data)

    def _fail(self, handle: int, error: int) -> None:
        if self._structured:
            self._chunk(handle, _ERROR, struct.pack(">IH", error, 0))
        else:
            self._link.sendall(struct.pack(">IIQ", _SIMPLE, error, handle))

    def _chunk(self, handle: int, kind: int, head: bytes, data: bytes = b"") -> None:
        length = len(head) + len(data)
        self._link.sendall(struct.pack(">IHHQI", _CHUNK, _DONE, kind, handle, length) + head)
        if data:
            self._link.sendall(data)

    def _say(self, option: int, kind: int, data: bytes = b"") -> None:
        self._link.sendall(struct.pack(">QIII", _ANSWER, option, kind, len(data)) + data)

    def _receive(self, length: int) -> bytes:
        return self._link.recv(length, socket.MSG_WAITALL) if length else b""
