"""A stream is protected by credentials that fit, and by nothing less."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from wirt.model.errors import Unavailable
from wirt.peers.certificates import for_one_migration
from wirt.peers.streams import protected
from wirt.ports.migration import Channel, Credentials


def both(receiving: Credentials | None, sending: Credentials | None) -> list[object]:
    """What comes of either side: a socket, or the error."""
    near, far = socket.socketpair()
    outcomes: list[object] = [None, None]

    def side(index: int, channel: Channel, receives: bool) -> None:
        try:
            outcomes[index] = protected(channel, receives=receives)
        except Unavailable as error:
            outcomes[index] = error

    threads = [
        threading.Thread(target=side, args=(0, Channel(near, sending), False)),
        threading.Thread(target=side, args=(1, Channel(far, receiving), True)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def end(outcomes: list[object]) -> None:
    for each in outcomes:
        if isinstance(each, socket.socket):
            each.close()


def test_nothing_can_be_read_on_the_way() -> None:
    near, far = both(*for_one_migration())
    assert isinstance(near, socket.socket) and isinstance(far, socket.socket)
    near.sendall(b"what is secret")
    raw = socket.socket.recv(far, 4096)
    assert raw and b"what is secret" not in raw
    end([near, far])


def test_credentials_of_another_migration_open_nothing() -> None:
    receiving, _ = for_one_migration()
    _, sending = for_one_migration()
    outcomes = both(receiving, sending)
    assert any(isinstance(each, Unavailable) for each in outcomes)
    assert isinstance(outcomes[0], Unavailable), "the sender sees that it is another host"
    end(outcomes)


def test_who_shows_the_receivers_certificate_is_no_sender() -> None:
    receiving, _ = for_one_migration()
    outcomes = both(receiving, receiving)
    assert isinstance(outcomes[1], Unavailable)
    end(outcomes)


@pytest.mark.parametrize("receives", [True, False])
def test_a_stream_that_ends_in_the_handshake_is_told_and_closed(receives: bool) -> None:
    near, far = socket.socketpair()
    far.close()
    receiving, sending = for_one_migration()
    with contextlib.closing(near), pytest.raises(Unavailable, match="could not be protected"):
        protected(Channel(near, receiving if receives else sending), receives=receives)
