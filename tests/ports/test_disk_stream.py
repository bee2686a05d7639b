"""A disk arrives whole, or not at all; whatever comes instead is refused."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from wirt.model.errors import BadInput, Unavailable
from wirt.ports import disk_stream
from wirt.ports.blocks import BLOCK
from wirt.ports.memory_blocks import MemoryBlocks, MemoryDisk

END = struct.pack(">QI", (1 << 64) - 1, 0)


def go(function: Callable[..., int], *words: Any) -> tuple[threading.Thread, list[Any]]:
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(function(*words))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


def carried(source: MemoryDisk, target: MemoryDisk, rate: int | None = None) -> tuple[Any, Any, list[float]]:
    near, far = socket.socketpair()
    shares: list[float] = []
    stop = threading.Event()
    sending = go(disk_stream.send, near, "xvda", MemoryBlocks(source), shares.append, stop, rate)
    receiving = go(disk_stream.receive, far, "xvda", MemoryBlocks(target), stop)
    for thread, _ in (sending, receiving):
        thread.join(30)
    near.close()
    far.close()
    return sending[1][0], receiving[1][0], shares


@settings(max_examples=25)
@given(some.lists(some.tuples(some.integers(0, 40 * BLOCK - 9), some.binary(min_size=1, max_size=9)), max_size=6))
def test_every_byte_arrives_and_zeroes_are_not_sent(written: list[tuple[int, bytes]]) -> None:
    source, target = MemoryDisk(40 * BLOCK), MemoryDisk(40 * BLOCK)
    for offset, data in written:
        source.write(offset, data)
    sent, came, shares = carried(source, target)
    assert target.content == source.content
    assert sent == came
    assert (sent == 0) == (not any(source.content))
    assert shares[-1] == 1.0


def test_zeroes_go_too_where_something_else_may_be() -> None:
    source, target = MemoryDisk(4 * BLOCK), MemoryDisk(4 * BLOCK)
    source.write(BLOCK, b"its own" + bytes(BLOCK - 7))
    source.write(2 * BLOCK, bytes(BLOCK))
    target.content[:] = b"x" * len(target.content)
    own = MemoryBlocks(source, frozen=bytes(source.content), changed=frozenset(source.written))
    near, far = socket.socketpair()
    stop = threading.Event()
    sending = go(partial(disk_stream.send, zeroes=True), near, "xvda", own, lambda share: None, stop)
    receiving = go(disk_stream.receive, far, "xvda", MemoryBlocks(target), stop)
    for thread, _ in (sending, receiving):
        thread.join(30)
    assert (sending[1][0], receiving[1][0]) == (2 * BLOCK, 2 * BLOCK)
    assert target.content[BLOCK : 3 * BLOCK] == source.content[BLOCK : 3 * BLOCK]
    assert target.content[:BLOCK] == target.content[3 * BLOCK :] == b"x" * BLOCK
    near.close()
    far.close()


def test_a_rate_makes_small_pieces_and_all_arrives() -> None:
    source, target = MemoryDisk(4 * BLOCK), MemoryDisk(4 * BLOCK)
    source.write(0, bytes(range(1, 251)) * 1000)
    sent, _, shares = carried(source, target, rate=1 << 20)
    assert target.content == source.content and sent >= 250000 and len(shares) >= 1


GREETING = b"wirt-disk-1\n" + struct.pack(">HQ", 4, BLOCK) + b"xvda"
PIECE = struct.pack(">QI", 0, 4) + b"abcd"


@pytest.mark.parametrize(
    ("bytes_", "kind"),
    [
        (b"", Unavailable),
        (b"GET / HTTP/1.1\r\n\r\n", BadInput),
        (GREETING.replace(b"xvda", b"xvdb"), BadInput),
        (b"wirt-disk-1\n" + struct.pack(">HQ", 60000, BLOCK), BadInput),
        (b"wirt-disk-1\n" + struct.pack(">HQ", 4, BLOCK + 1) + b"xvda", BadInput),
        (GREETING + PIECE, Unavailable),
        (GREETING + struct.pack(">QI", BLOCK - 2, 4) + b"abcd", BadInput),
        (GREETING + struct.pack(">QI", 0, 1 << 30), BadInput),
        (GREETING + struct.pack(">QI", 5, 0), BadInput),
        (GREETING + PIECE + END + bytes(32), BadInput),
        (GREETING + PIECE.replace(b"abcd", b"abce") + END + hashlib.sha256(PIECE).digest(), BadInput),
    ],
)
def test_what_can_not_be_a_disk_is_refused(bytes_: bytes, kind: type[Exception]) -> None:
    near, far = socket.socketpair()
    near.sendall(bytes_)
    near.shutdown(socket.SHUT_WR)
    with pytest.raises(kind):
        disk_stream.receive(far, "xvda", MemoryBlocks(MemoryDisk(BLOCK)), threading.Event())
    near.close()
    far.close()


def test_a_sign_of_life_is_no_piece() -> None:
    near, far = socket.socketpair()
    near.sendall(GREETING + struct.pack(">QI", 0, 0) + PIECE + END + hashlib.sha256(PIECE).digest())
    disk = MemoryDisk(BLOCK)
    assert disk_stream.receive(far, "xvda", MemoryBlocks(disk), threading.Event()) == 4
    assert near.recv(1) == b"k" and disk.content[:4] == b"abcd"
    near.close()
    far.close()


def test_a_sender_is_not_content_with_less_than_the_receivers_word() -> None:
    near, far = socket.socketpair()
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(Unavailable, match="did not keep"):
        disk_stream.send(near, "xvda", MemoryBlocks(MemoryDisk(BLOCK)), lambda share: None, threading.Event())
    near.close()
    far.close()


def test_nobody_waits_any_more() -> None:
    near, far = socket.socketpair()
    stop = threading.Event()
    stop.set()
    with pytest.raises(Unavailable, match="nobody waits"):
        disk_stream.send(near, "xvda", MemoryBlocks(MemoryDisk(BLOCK)), lambda share: None, stop)
    near.close()
    far.close()
