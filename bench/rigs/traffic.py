"""TCP between the host and a tiny guest, in one direction at a time."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.rigs.shells import Send, type_line

SINK, SOURCE = 5001, 5002
STALL_S = 20.0
CHUNK_BYTES = 1 << 16
_ACKED = 120
"""Where ``tcpi_bytes_acked`` is (linux/tcp.h, struct tcp_info)."""
_SERVERS = (
    f"(while :; do nc -l -p {SINK} </dev/null >/dev/null; done) &",
    f"(while :; do nc -l -p {SOURCE} </dev/zero >/dev/null; done) 2>/dev/null &",
)


def serve(send: Send, log: Path) -> None:
    for line in _SERVERS:
        type_line(send, log, line)


def sent(connection: socket.socket, begin: float, end: float) -> int:
    """Bytes of TCP that come from the guest between the two moments."""
    buffer, total = bytearray(CHUNK_BYTES), 0
    while (now := time.monotonic()) < end:
        count = connection.recv_into(buffer)
        total += count if now >= begin else 0
    return total


def received(connection: socket.socket, begin: float, end: float) -> int:
    """Bytes of TCP that the guest acknowledges between the two moments."""
    data, before = bytes(CHUNK_BYTES), 0
    while (now := time.monotonic()) < end:
        before = before or (_acked(connection) if now >= begin else 0)
        connection.send(data)
    return _acked(connection) - before


@dataclass(frozen=True, slots=True)
class Move:
    way: str
    port: int
    count: Callable[[socket.socket, float, float], int]


OUT, IN = Move("out", SOURCE, sent), Move("in", SINK, received)


@contextlib.contextmanager
def connected(address: str, port: int) -> Iterator[socket.socket]:
    """To a server that takes one caller after the other, and may not be back yet."""
    deadline = time.monotonic() + STALL_S
    while True:
        try:
            connection = socket.create_connection((address, port), timeout=STALL_S)
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    try:
        yield connection
    finally:
        # With a reset: what is still under way must not disturb whoever is next.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def _acked(connection: socket.socket) -> int:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED + 8)
    acked: int = struct.unpack_from("Q", info, _ACKED)[0]
    return acked
