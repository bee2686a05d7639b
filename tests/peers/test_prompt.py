"""Nothing waits for long in a stream between hosts that are near each other."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from wirt.peers import prompt
from wirt.peers.prompt import QUEUE_BYTES, make_prompt, round_trip_s

KERNEL_DOUBLES = 2
"""For its own bookkeeping (socket(7), SO_SNDBUF)."""


@pytest.fixture
def connected() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stream = socket.create_connection(listening.getsockname())
        taken, _ = listening.accept()
        with stream, taken:
            yield stream


def queue(stream: socket.socket) -> int:
    return stream.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


def test_between_near_hosts_the_queue_is_short(connected: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt, "round_trip_s", lambda stream: 0.0001)
    make_prompt(connected)
    assert queue(connected) <= KERNEL_DOUBLES * QUEUE_BYTES
    assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_between_distant_hosts_the_kernel_chooses(
    connected: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = queue(connected)
    monkeypatch.setattr(prompt, "round_trip_s", lambda stream: 0.02)
    make_prompt(connected)
    assert queue(connected) == before
    assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_round_trip_is_what_the_kernel_measured(connected: socket.socket) -> None:
    assert 0 < round_trip_s(connected) < 10


def test_what_goes_through_ssh_is_left_as_it_is() -> None:
    near, far = socket.socketpair()
    with near, far:
        before = queue(near)
        make_prompt(near)
        assert queue(near) == before
