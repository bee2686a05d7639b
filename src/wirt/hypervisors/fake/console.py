"""A fake guest's console: a bounded ring of what it printed, and what was typed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from wirt.model.errors import IllegalState
from wirt.ports.hypervisor import ConsoleChunk

RING_BYTES = 64 * 1024
CHUNK_BYTES = 64 * 1024
TYPED_BYTES = 4096


class FakeConsole:
    """Survives the daemon, as the log does that QEMU writes. Costs nothing until something is printed."""

    def __init__(self, name: str, ring_bytes: int) -> None:
        self.typed = bytearray()
        self.answer: Callable[[bytes], None] | None = None
        """Called with what is typed, so that a scripted guest can react to it."""
        self._name = name
        self._ring_bytes = ring_bytes
        self._ring = bytearray()
        self._size = 0
        self._ended = False
        self._changed: asyncio.Event | None = None
        self._next: FakeConsole | None = None

    @property
    def size(self) -> int:
        """Bytes printed in this run, kept or not."""
        return self._size

    def print(self, data: bytes) -> None:
        self._ring += data
        self._size += len(data)
        del self._ring[: max(0, len(self._ring) - self._ring_bytes)]
        self._wake()

    def begin_from(self, offset: int, data: bytes) -> None:
        if self._size:
            raise IllegalState(f"{self._name} has printed something here already")
        self._ring, self._size = bytearray(data[-self._ring_bytes :]), offset + len(data)
        self._wake()

    def go_on_from(self, old: FakeConsole) -> None:
        """The guest of ``old`` goes on here, and so do those who follow it."""
        self._ring, self._size, self.answer = bytearray(old._ring), old._size, old.answer
        old._next = self
        old._wake()

    def end(self) -> None:
        self._ended = True
        self._wake()

    def read(self, offset: int) -> ConsoleChunk:
        if self._next is not None:
            return self._next.read(offset)
        oldest = self._size - len(self._ring)
        start = self._size if offset < 0 else min(max(offset, oldest), self._size)
        place = start - oldest
        return ConsoleChunk(start, bytes(self._ring[place : place + CHUNK_BYTES]))

    async def follow(self, offset: int) -> AsyncIterator[ConsoleChunk]:
        if offset < 0:
            offset = self._size
        while True:
            if self._next is not None:
                async for chunk in self._next.follow(offset):
                    yield chunk
                return
            # Taken before the read: what comes in between wakes us.
            ended, changed = self._ended, self._change()
            chunk = self.read(offset)
            if chunk.data:
                offset = chunk.offset + len(chunk.data)
                yield chunk
            elif ended:
                return
            else:
                await changed.wait()

    async def write(self, data: bytes) -> None:
        if self._next is not None:
            await self._next.write(data)
            return
        if self._ended:
            raise IllegalState(f"the console of {self._name} is closed: the domain has ended")
        self.typed += data
        del self.typed[: max(0, len(self.typed) - TYPED_BYTES)]
        if self.answer is not None:
            self.answer(data)

    def _change(self) -> asyncio.Event:
        if self._changed is None:
            self._changed = asyncio.Event()
        return self._changed

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()
