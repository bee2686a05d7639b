"""A disk's content through a stream, for one that nobody has open: what is not zeroes, and a checksum of it.

The sender begins with a greeting (the disk's ``vdev`` and size), then come pieces (offset, length, bytes), then
an end (offset of all ones, length 0) with the SHA-256 over all pieces. The receiver answers one byte once all of
it is on its disk for good. Numbers are big-endian. Synchronous, for a thread of its own: every wait is bounded by
:data:`SILENCE_S`, the last one by :data:`FLUSH_S`.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

from wirt.model.errors import BadInput, Unavailable
from wirt.ports.blocks import Blocks, Extent

SILENCE_S = 60.0
FLUSH_S = 600.0
ALIVE_S = 10.0
LEAST_PIECE = 4096
PIECE = 1024 * 1024
_GREETING = b"wirt-disk-1\n"
_HEAD = struct.Struct(">QI")
_LONGEST_NAME = 64
_END = (1 << 64) - 1
_ALIVE = _HEAD.pack(0, 0)
_KEPT = b"k"

Tell = Callable[[float], None]


def send(
    stream: socket.socket,
    vdev: str,
    blocks: Blocks,
    tell: Tell,
    stop: threading.Event,
    bytes_per_s: int | None = None,
    *,
    zeroes: bool = False,
) -> int:
    """All extents of ``blocks``; the number of bytes that went. ``tell``: the share of the disk that has been seen
    to. ``zeroes`` go too, to where something else may be: to what stands on another disk there.
    ``Unavailable``: the stream broke, or the receiver does not say that it has everything."""
    name, digest, sent = vdev.encode(), hashlib.sha256(), 0
    begun = said = time.monotonic()
    stream.settimeout(SILENCE_S)
    try:
        stream.sendall(_GREETING + struct.pack(">HQ", len(name), blocks.size) + name)
        for extent in blocks.extents():
            for piece in _pieces(extent, bytes_per_s):
                _check(stop)
                data = blocks.read(piece.offset, piece.length)
                if zeroes or data.count(0) < len(data):
                    head = _HEAD.pack(piece.offset, piece.length)
                    digest.update(head)
                    digest.update(data)
                    stream.sendall(head + data)
                    sent += piece.length
                    _pace(sent, begun, bytes_per_s, stop)
                    said = time.monotonic()
                elif time.monotonic() - said > ALIVE_S:
                    stream.sendall(_ALIVE)
                    said = time.monotonic()
                tell((piece.offset + piece.length) / blocks.size)
        stream.sendall(_HEAD.pack(_END, 0) + digest.digest())
        stream.settimeout(FLUSH_S)
        if stream.recv(1) != _KEPT:
            raise Unavailable(f"the other host did not keep disk {vdev}")
    except OSError as error:
        raise _broken(vdev, error) from error
    return sent


def receive(stream: socket.socket, vdev: str, blocks: Blocks, stop: threading.Event) -> int:
    """What :func:`send` sends, into ``blocks``, which hold zeroes, or what the sender's show below all that it
    sends; the number of bytes that came. ``BadInput``: it is another disk, or damaged on the way."""
    digest, came = hashlib.sha256(), 0
    stream.settimeout(SILENCE_S)
    try:
        _greet(stream, vdev, blocks.size)
        while True:
            _check(stop)
            head = _exactly(stream, _HEAD.size)
            offset, length = _HEAD.unpack(head)
            if offset == _END:
                break
            if head == _ALIVE:
                continue
            if not 0 < length <= PIECE or offset + length > blocks.size:
                raise BadInput(f"a piece of disk {vdev} is none that could be")
            data = _exactly(stream, length)
            digest.update(head)
            digest.update(data)
            blocks.write(offset, data)
            came += length
        if _exactly(stream, digest.digest_size) != digest.digest():
            raise BadInput(f"disk {vdev} was damaged on the way")
        blocks.flush()
        stream.sendall(_KEPT)
    except OSError as error:
        raise _broken(vdev, error) from error
    return came


def _greet(stream: socket.socket, vdev: str, room: int) -> None:
    if _exactly(stream, len(_GREETING)) != _GREETING:
        raise BadInput(f"what comes is no disk {vdev}")
    length, size = struct.unpack(">HQ", _exactly(stream, 10))
    name = _exactly(stream, length) if length <= _LONGEST_NAME else b""
    if name != vdev.encode():
        raise BadInput(f"another disk comes than {vdev}")
    if size > room:
        raise BadInput(f"disk {vdev} has {size} bytes, and there is room for {room}")


def _pieces(extent: Extent, bytes_per_s: int | None) -> Iterator[Extent]:
    """Small ones where little may be sent, so that the other side is not left in doubt for long."""
    most = PIECE if bytes_per_s is None else max(LEAST_PIECE, min(PIECE, bytes_per_s))
    end = extent.offset + extent.length
    return (Extent(at, min(most, end - at)) for at in range(extent.offset, end, most))


def _pace(sent: int, begun: float, bytes_per_s: int | None, stop: threading.Event) -> None:
    if bytes_per_s is not None:
        stop.wait(max(0.0, begun + sent / bytes_per_s - time.monotonic()))


def _check(stop: threading.Event) -> None:
    if stop.is_set():
        raise Unavailable("nobody waits for the disk any more")


def _exactly(stream: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = stream.recv(min(length - len(data), PIECE))
        if not part:
            raise Unavailable("the stream with a disk ended too early")
        data += part
    return bytes(data)


def _broken(vdev: str, error: OSError) -> Unavailable:
    silent = isinstance(error, TimeoutError)
    words = f"nothing went for {SILENCE_S:g} s" if silent else error.strerror or str(error)
    return Unavailable(f"the stream with disk {vdev} broke: {words}")
