"""One disk, to be read by whoever holds the other end of a socket: the old-style handshake of the NBD protocol,
with reads and nothing else (nbd, doc/proto.md: "Oldstyle negotiation", "Transmission phase")."""

from __future__ import annotations

import socket
import struct

from wirt.model.errors import BadInput
from wirt.storage.appliances.slices import SECTOR, Readable

_MAGIC, _OLD = b"NBDMAGIC", 0x00420281861253
_REQUEST, _REPLY = 0x25609513, 0x67446698
_HAS_FLAGS, _READ_ONLY = 1, 2
_READ, _DISCONNECT = 0, 2
_IO_ERROR, _INVALID = 5, 22
_MOST_BYTES = 32 * 1024 * 1024


def serve(disk: Readable, link: socket.socket) -> None:
    """Until the other side has gone. ``BadInput`` if the disk is damaged: the other side is told of an error."""
    size = -(-disk.size // SECTOR) * SECTOR
    link.sendall(_MAGIC + struct.pack(">QQI", _OLD, size, _HAS_FLAGS | _READ_ONLY) + bytes(124))
    while True:
        request = link.recv(28, socket.MSG_WAITALL)
        if len(request) < 28:
            return
        magic, _, kind, handle, offset, length = struct.unpack(">IHHQQI", request)
        if magic != _REQUEST or kind == _DISCONNECT:
            return
        if kind != _READ or length > _MOST_BYTES or offset + length > size:
            link.sendall(struct.pack(">IIQ", _REPLY, _INVALID, handle))
            continue
        try:
            data = disk.read(offset, length)
        except (BadInput, OSError):
            link.sendall(struct.pack(">IIQ", _REPLY, _IO_ERROR, handle))
            raise
        link.sendall(struct.pack(">IIQ", _REPLY, 0, handle))
        link.sendall(data)
