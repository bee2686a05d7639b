"""A migration's stream under TLS for a hypervisor that writes, or reads, it as it is.

QEMU puts each page into a TLS record of its own and the page's number into another, and is busier with those than
with memory: to take 100 MB costs the receiving QEMU 0.2 s of CPU, and 0.07 s as they are. Here a record is as full
as it can be, which costs each daemon 0.045 s (measured; QEMU 10, 2 CPUs).
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

from wirt.model.errors import Unavailable
from wirt.peers.streams import HANDSHAKE_S, context_of, protected
from wirt.ports.migration import Channel, Credentials

PIECE_BYTES = 128 * 1024
"""What is in here when a guest is stopped has to go over before it can go on."""
AHEAD_BYTES = 16 * 1024 * 1024
"""So much is taken before there is a hypervisor that wants it. A guest with a system in it has more, and so can't
stand still before it is waited for."""
RECORD_BYTES = 16 * 1024
"""At most (RFC 8446, 5.1)."""


def dug(channel: Channel, *, receives: bool) -> socket.socket:
    """This host's end, unprotected; see :meth:`wirt.ports.peers.Peers.tunnel`. Waits for the other side. What
    carries the bytes is a thread that ends with either end of the stream."""
    if channel.credentials is None:
        return channel.stream
    if receives:
        end = _Receiving.shaken(channel.stream, channel.credentials)
        mine, inner = socket.socketpair()
        threading.Thread(target=_unwrap, args=(end, inner), name="tunnel", daemon=True).start()
        return mine
    through = protected(channel, receives=False)
    through.settimeout(None)
    mine, inner = socket.socketpair()
    threading.Thread(target=_wrap, args=(inner, through), name="tunnel", daemon=True).start()
    return mine


def _wrap(inner: socket.socket, through: socket.socket) -> None:
    """Whatever ends it, both sides see the end: who reads knows by himself whether he has all."""
    piece = memoryview(bytearray(PIECE_BYTES))
    with contextlib.closing(inner), contextlib.closing(through), contextlib.suppress(OSError):
        while _more(inner, through) and (count := inner.recv_into(piece)):
            through.sendall(piece[:count])


def _unwrap(end: _Receiving, inner: socket.socket) -> None:
    with contextlib.closing(end.stream), contextlib.closing(inner), contextlib.suppress(OSError):
        pieces = end.pieces(inner)
        inner.sendall(_come_ahead(end, pieces, inner))
        for piece in pieces:
            inner.sendall(piece)


def _come_ahead(end: _Receiving, pieces: Iterator[memoryview], inner: socket.socket) -> bytearray:
    """What comes while nobody reads what is there already."""
    held = bytearray()
    inner.setblocking(False)
    for piece in pieces:
        sent = _sent(inner, piece)
        if sent < len(piece):
            held += piece[sent:]
            break
    poll = select.poll()
    poll.register(end.stream, select.POLLIN)
    poll.register(inner, select.POLLOUT | select.POLLRDHUP)
    while 0 < len(held) < AHEAD_BYTES:
        ready = {descriptor for descriptor, _ in poll.poll()}
        piece = memoryview(b"") if inner.fileno() in ready else next(pieces, memoryview(b""))
        if not piece:
            break
        held += piece
    inner.setblocking(True)
    return held


def _sent(inner: socket.socket, piece: memoryview) -> int:
    try:
        return inner.send(piece)
    except BlockingIOError:
        return 0


def _more(source: socket.socket, sink: socket.socket) -> bool:
    """Wait for something to carry. ``False``: there is nobody any more to carry it to."""
    poll = select.poll()
    poll.register(source, select.POLLIN)
    poll.register(sink, select.POLLRDHUP)
    return all(descriptor == source.fileno() for descriptor, _ in poll.poll())


@dataclass(frozen=True, slots=True)
class _Receiving:
    """TLS in memory: many records are read from the stream at once, which Python's own sockets read one by one,
    and in two bites. It takes half the CPU (measured)."""

    stream: socket.socket
    _arrived: ssl.MemoryBIO
    _tls: ssl.SSLObject

    @classmethod
    def shaken(cls, stream: socket.socket, credentials: Credentials) -> _Receiving:
        """``Unavailable``: then ``stream`` is closed."""
        arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            tls = context_of(credentials, receives=True).wrap_bio(arrived, leaving, server_side=True)
            stream.settimeout(HANDSHAKE_S)
            while not _done(tls):
                stream.sendall(leaving.read())
                arrived.write(_some(stream))
            stream.sendall(leaving.read())
            stream.settimeout(None)
        except OSError as error:
            with contextlib.suppress(OSError):
                stream.sendall(leaving.read())  # why
            stream.close()
            raise Unavailable(f"a stream between the two hosts could not be protected: {error}") from error
        return cls(stream, arrived, tls)

    def pieces(self, sink: socket.socket) -> Iterator[memoryview]:
        """What has come, until there is no more, or nobody who wants it. Each is void with the next."""
        raw, plain = (memoryview(bytearray(PIECE_BYTES + RECORD_BYTES)) for _ in range(2))
        read = cast(Callable[[int, memoryview], int], self._tls.read)
        while True:
            length = 0
            with contextlib.suppress(ssl.SSLWantReadError):
                while length < PIECE_BYTES:
                    count = read(len(plain) - length, plain[length:])
                    if not count:
                        return
                    length += count
            if length:
                yield plain[:length]
            elif _more(self.stream, sink) and (count := self.stream.recv_into(raw)):
                self._arrived.write(raw[:count])
            else:
                return


def _done(tls: ssl.SSLObject) -> bool:
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _some(stream: socket.socket) -> bytes:
    found = stream.recv(PIECE_BYTES)
    if not found:
        raise ConnectionResetError("the other side hung up")
    return found
