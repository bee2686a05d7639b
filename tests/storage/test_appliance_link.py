"""The talk between the worker and qemu-img: what is served, and what the worker does not let itself be asked."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.config.xva import CHUNK_BYTES
from wirt.model.errors import BadInput
from wirt.storage.appliances.nbd import serve
from wirt.storage.appliances.slices import Chunk, Chunks, Readable, Slice

CLIENT = struct.pack(">I", 3)
READ, DISCONNECT, WRITE = 0, 2, 1


def option(number: int, data: bytes = b"") -> bytes:
    return b"IHAVEOPT" + struct.pack(">II", number, len(data)) + data


def request(kind: int, offset: int, length: int) -> bytes:
    return struct.pack(">IHHQQI", 0x25609513, 0, kind, 7, offset, length)


GO = option(7, struct.pack(">IH", 0, 0))


def asked(disk: Readable, words: bytes) -> tuple[bytes, BaseException | None]:
    """All that comes back, and what the server gave up with."""
    mine, other = socket.socketpair()
    ended: list[BaseException | None] = [None]

    def run() -> None:
        with other:
            try:
                serve(disk, other)
            except (BadInput, OSError) as error:
                ended[0] = error

    thread = threading.Thread(target=run)
    thread.start()
    found = b""
    with mine:
        mine.sendall(words)
        mine.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):  # it went without having read all
            while part := mine.recv(1 << 16):
                found += part
    thread.join(30)
    assert not thread.is_alive()
    return found, ended[0]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Slice]:
    path = tmp_path / "disk"
    path.write_bytes(b"0123456789" * 100)
    fd = os.open(path, os.O_RDONLY)
    yield Slice(fd, 0, 1000)
    os.close(fd)


def test_bytes_are_served_and_the_rest_of_the_last_sector_is_zero(disk: Slice) -> None:
    found, error = asked(disk, CLIENT + GO + request(READ, 990, 20) + request(DISCONNECT, 0, 0))
    assert error is None
    assert found.endswith(struct.pack(">IIQ", 0x67446698, 0, 7) + b"0123456789" + bytes(10))


@pytest.mark.parametrize(
    "bad", [(READ, 1024, 1), (READ, 0, 1025), (READ, 1 << 63, 8), (READ, 0, 0), (WRITE, 0, 512), (99, 0, 512)]
)
def test_what_can_not_be_read_is_an_error_and_the_next_request_is_served(
    disk: Slice, bad: tuple[int, int, int]
) -> None:
    found, error = asked(disk, CLIENT + GO + request(*bad) + request(READ, 0, 4))
    assert error is None
    assert found.endswith(struct.pack(">IIQ", 0x67446698, 22, 7) + struct.pack(">IIQ", 0x67446698, 0, 7) + b"0123")


def test_options_that_nobody_knows_are_refused_and_the_talk_goes_on(disk: Slice) -> None:
    found, error = asked(disk, CLIENT + option(11) + option(4711, b"x" * 100) + GO + request(READ, 0, 2))
    assert error is None and found.endswith(b"01")
    assert found.count(struct.pack(">I", 0x80000001)) == 2


@given(st.binary(max_size=200))
def test_any_words_end_the_talk_or_are_answered(words: bytes) -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    try:
        asked(Slice(fd, 0, 0), CLIENT + words)
        asked(Slice(fd, 0, 0), CLIENT + GO + words)
    finally:
        os.close(fd)


def test_a_damaged_chunk_is_an_error_on_the_link_and_ends_the_server(disk: Slice) -> None:
    chunks = Chunks("Ref:1", CHUNK_BYTES, {0: Chunk(disk, ("checksum", "0" * 40))})
    found, error = asked(chunks, CLIENT + GO + request(READ, 0, 512))
    assert isinstance(error, BadInput)
    assert found.endswith(struct.pack(">IIQ", 0x67446698, 5, 7))


def test_holes_are_told_without_a_look_at_them(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(8 << 20)
        file.seek(4 << 20)
        file.write(b"x" * (1 << 20))
    with path.open("rb") as file:
        whole = Slice(file.fileno(), 0, 8 << 20)
        assert whole.extent(0, 8 << 20) == (4 << 20, True)
        assert whole.extent(4 << 20, 8 << 20) == (1 << 20, False)
        assert whole.extent(5 << 20, 8 << 20) == (3 << 20, True)
        chunks = Chunks("Ref:1", 10 * CHUNK_BYTES - 512, {3: Chunk(whole, None)})
    assert chunks.extent(0, 1 << 30) == (3 * CHUNK_BYTES, True)
    assert chunks.extent(3 * CHUNK_BYTES + 512, 1 << 30) == (CHUNK_BYTES - 512, False)
    assert chunks.extent(4 * CHUNK_BYTES, 1 << 30) == (6 * CHUNK_BYTES - 512, True)
    assert chunks.extent(4 * CHUNK_BYTES, 512) == (512, True)
