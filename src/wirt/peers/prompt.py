"""Streams that hold little: what is in a connection's queues when a guest is stopped has to be read before it goes
on over there. Linux lets them grow to MiBs (tcp(7), tcp_wmem), and a sender takes all that for sent.

Only what waits to be sent is kept short. A receiver's queue that is made shorter once the stream is open can have
it stand still for seconds (seen on Linux 6.18, loopback)."""

from __future__ import annotations

import contextlib
import socket
import struct

NEAR_S = 0.0005
"""Between hosts that are further apart a short queue would bound the rate: there the kernel chooses."""
QUEUE_BYTES = 208 * 1024
"""The kernel's usual most for those who ask (socket(7), wmem_max): more than 0.4 GB/s over half a millisecond."""
_RTT = struct.Struct("68xI")  # linux/tcp.h, tcp_info.tcpi_rtt, in microseconds


def make_prompt(stream: socket.socket) -> None:
    """A connected one. Whatever can't be had is left as it is."""
    if stream.family == socket.AF_UNIX:
        return
    with contextlib.suppress(OSError, struct.error):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if round_trip_s(stream) <= NEAR_S:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, QUEUE_BYTES)


def round_trip_s(stream: socket.socket) -> float:
    """As the kernel has measured it so far: once, when it was connected."""
    about = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT.size)
    return float(_RTT.unpack(about)[0]) / 1e6
