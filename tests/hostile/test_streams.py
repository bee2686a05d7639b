"""Websockets to readers that are slow, of consoles whose log someone else has his hands on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from fastapi import WebSocket

from wirt.api import streams
from wirt.operations.console_past import kept_from
from wirt.operations.handovers import MOST_PAST
from wirt.ports.hypervisor import ConsoleChunk


class Shrinking:
    """A console whose log is cut while it is read: a QEMU that was taken over has it open for writing."""

    def __init__(self) -> None:
        self.size = 1000

    def read(self, offset: int) -> ConsoleChunk:
        start = self.size if offset < 0 else min(offset, self.size)
        if offset >= 0:
            self.size //= 2
        return ConsoleChunk(start, b"x" * max(0, min(100, self.size - start)))

    async def follow(self, offset: int) -> AsyncIterator[ConsoleChunk]:
        yield self.read(offset)

    async def write(self, data: bytes) -> None:
        raise NotImplementedError

    def begin_from(self, offset: int, data: bytes) -> None:
        raise NotImplementedError


class Flooding(Shrinking):
    """There is always more than was there a moment ago."""

    def read(self, offset: int) -> ConsoleChunk:
        self.size += 1_000_000
        start = self.size if offset < 0 else offset
        return ConsoleChunk(start, b"x" * min(65536, self.size - start))


class Endless(Shrinking):
    """Prints faster than anyone reads."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def follow(self, offset: int) -> AsyncIterator[ConsoleChunk]:
        while True:
            self.asked += 1
            yield ConsoleChunk(self.asked * 65536, bytes(65536))


class Socket:
    """Of a client that takes ``takes`` messages and then no more."""

    def __init__(self, takes: int) -> None:
        self.sent = 0
        self.closed: tuple[int, str] | None = None
        self._takes = takes

    async def send_bytes(self, data: bytes) -> None:
        if self.sent == self._takes:
            await asyncio.Event().wait()
        self.sent += 1

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


def socket(takes: int) -> tuple[Socket, WebSocket]:
    made = Socket(takes)
    return made, cast(WebSocket, cast(Any, made))


async def test_what_is_kept_ends_though_the_log_is_cut_meanwhile() -> None:
    taken, of = socket(takes=1000)
    sending = asyncio.create_task(streams._send_kept(of, Shrinking(), 0))
    await asyncio.wait_for(sending, 5)
    assert taken.sent < 20
    assert taken.closed is not None


async def test_a_reader_that_stops_reading_is_sent_nothing_more() -> None:
    taken, of = socket(takes=3)
    console = Endless()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(streams._send_console(of, console, 0), 0.2)
    assert (taken.sent, console.asked) == (3, 4), "one waits to be sent, and the rest stays in the log"


@pytest.mark.parametrize("kind", [Shrinking, Flooding])
def test_what_a_guest_printed_is_taken_along_in_bounds_whatever_its_log_does(kind: type[Shrinking]) -> None:
    pieces = list(kept_from(kind(), 0))
    assert sum(len(piece.data) for piece in pieces) <= MOST_PAST
    ends = [piece.offset + len(piece.data) for piece in pieces]
    assert all(piece.offset >= end for piece, end in zip(pieces[1:], ends, strict=False)), "nothing twice"
