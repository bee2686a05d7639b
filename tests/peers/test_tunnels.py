"""A tunnel carries what a hypervisor sends, all of it and nothing readable, and ends with either end."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from wirt.model.errors import Unavailable
from wirt.peers.certificates import for_one_migration
from wirt.peers.tunnels import AHEAD_BYTES, PIECE_BYTES, dug
from wirt.ports.migration import Channel, Credentials

PATIENCE_S = 60.0


def both(
    out: socket.socket, inner: socket.socket, sides: tuple[Credentials, Credentials] | None = None
) -> tuple[socket.socket, socket.socket]:
    """The sender's plain end and the receiver's, through TLS between ``out`` and ``inner``."""
    receiving, sending = sides or for_one_migration()
    with ThreadPoolExecutor(2) as pool:
        near = pool.submit(dug, Channel(out, sending), receives=False)
        far = pool.submit(dug, Channel(inner, receiving), receives=True)
        found = near.result(PATIENCE_S), far.result(PATIENCE_S)
    for each in found:
        each.settimeout(PATIENCE_S)
    return found


def tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        out = socket.create_connection(listening.getsockname())
        inner, _ = listening.accept()
    return out, inner


def all_of(stream: socket.socket) -> bytes:
    pieces = []
    while piece := stream.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def test_every_byte_arrives_in_order_and_then_the_end() -> None:
    near, far = both(*tcp())
    sent = os.urandom(5 * PIECE_BYTES + 17)

    def send() -> None:
        with near:
            near.sendall(sent)

    sender = threading.Thread(target=send)
    sender.start()
    with far:
        assert all_of(far) == sent
    sender.join(PATIENCE_S)


def test_nothing_can_be_read_on_the_way() -> None:
    out, tapped = socket.socketpair()
    onward, inner = socket.socketpair()
    seen = bytearray()

    def carry(one: socket.socket, other: socket.socket) -> None:
        while piece := one.recv(65536):
            seen.extend(piece)
            other.sendall(piece)
        other.shutdown(socket.SHUT_WR)

    carriers = [threading.Thread(target=carry, args=way) for way in ((tapped, onward), (onward, tapped))]
    for each in carriers:
        each.start()
    near, far = both(out, inner)
    with far:
        with near:
            near.sendall(b"what is secret" * 100)
        assert all_of(far) == b"what is secret" * 100
    for each in carriers:
        each.join(PATIENCE_S)
    tapped.close()
    onward.close()
    assert len(seen) > 1400 and b"what is secret" not in seen


def test_a_sender_learns_that_the_receiver_is_gone_though_it_sends_nothing() -> None:
    near, far = both(*tcp())
    far.close()
    with near:
        assert near.recv(1) == b"", "both ends are closed"


def test_a_receiver_sees_the_end_of_a_stream_that_is_cut() -> None:
    out, inner = tcp()
    cut = out.dup()
    near, far = both(out, inner)
    near.sendall(b"some")
    with far, near:
        assert far.recv(4) == b"some"
        cut.shutdown(socket.SHUT_RDWR)
        assert far.recv(1) == b""
    cut.close()


def test_credentials_of_another_migration_open_nothing() -> None:
    receiving, _ = for_one_migration()
    _, sending = for_one_migration()
    with pytest.raises(Unavailable):
        both(*tcp(), (receiving, sending))


def test_a_stream_that_is_protected_already_stays_as_it_is() -> None:
    near, far = socket.socketpair()
    with far:
        assert dug(Channel(near, None), receives=False) is near
        near.close()


@pytest.mark.parametrize("length", [1 << 20, AHEAD_BYTES // 2, AHEAD_BYTES + (8 << 20)])
def test_what_comes_before_anybody_reads_is_kept_for_him(length: int) -> None:
    near, far = both(*tcp())
    sent = os.urandom(length)

    def send() -> None:
        with near:
            near.sendall(sent)

    sender = threading.Thread(target=send)
    sender.start()
    if length < AHEAD_BYTES:
        sender.join(PATIENCE_S)
        assert not sender.is_alive(), "it is taken, though nobody reads"
    with far:
        assert all_of(far) == sent
    sender.join(PATIENCE_S)


def test_a_receiver_that_goes_before_it_has_read_ends_the_sender() -> None:
    near, far = both(*tcp())
    with near:
        near.sendall(bytes(1 << 20))
        far.close()
        with pytest.raises(OSError):
            while True:
                near.sendall(bytes(1 << 20))
