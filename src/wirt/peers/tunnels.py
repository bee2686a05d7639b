"""A migration's stream under TLS for a hypervisor that writes, or reads, it as it is.

QEMU puts each page into a TLS record of its own and the page's number into another, and is busier with those than
with memory: to take 100 MB costs the receiving QEMU 0.2 s of CPU, and 0.07 s as they are. Here a record is as full
as it can be, which costs each daemon 0.06 s (measured; QEMU 10, 2 CPUs).
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading

from wirt.peers.streams import protected
from wirt.ports.migration import Channel

PIECE_BYTES = 128 * 1024
"""What is in here when a guest is stopped has to go over before it can go on."""


def dug(channel: Channel, *, receives: bool) -> socket.socket:
    """This host's end, unprotected; see :meth:`wirt.ports.peers.Peers.tunnel`. Waits for the other side. What
    carries the bytes is a thread that ends with either end of the stream."""
    through = protected(channel, receives=receives)
    if channel.credentials is None:
        return through
    through.settimeout(None)
    mine, inner = socket.socketpair()
    way = (through, inner) if receives else (inner, through)
    threading.Thread(target=_carry, args=way, name="tunnel", daemon=True).start()
    return mine


def _carry(source: socket.socket, sink: socket.socket) -> None:
    """Whatever ends it, both sides see the end: who reads knows by himself whether he has all."""
    piece = memoryview(bytearray(PIECE_BYTES))
    with contextlib.closing(source), contextlib.closing(sink), contextlib.suppress(OSError):
        while _more(source, sink) and (count := source.recv_into(piece)):
            sink.sendall(piece[:count])


def _more(source: socket.socket, sink: socket.socket) -> bool:
    """Wait for something to carry. ``False``: there is nobody any more to carry it to."""
    if isinstance(source, ssl.SSLSocket) and source.pending():
        return True
    poll = select.poll()
    poll.register(source, select.POLLIN)
    poll.register(sink, select.POLLRDHUP)
    return all(descriptor == source.fileno() for descriptor, _ in poll.poll())
