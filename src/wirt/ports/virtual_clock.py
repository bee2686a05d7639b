"""A clock that moves only when told to: for tests, and for running a whole cluster in memory from one seed."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sized
from typing import NamedTuple

_NANO = 1_000_000_000
_TOO_BUSY = 100_000
"""Turns of the event loop after which tasks that never wait are taken for an endless loop."""


class _Sleeper(NamedTuple):
    wakes_ns: int
    number: int  # sleepers with the same end wake in the order in which they went to sleep
    wake: asyncio.Future[None]


class VirtualClock:
    """A :class:`~wirt.ports.clock.Clock` that stands still until :meth:`advance`.

    ``epoch`` is what :meth:`now` reads at the start, in seconds; :meth:`monotonic` starts at 0. Time is counted
    in whole nanoseconds, so that ten steps of 0.1 s are one second. For one event loop at a time.
    """

    def __init__(self, epoch: float = 1_750_000_000.0) -> None:
        self._epoch = epoch
        self._elapsed_ns = 0
        self._sleepers: list[_Sleeper] = []
        self._slept = 0
        self._advancing = False

    def now(self) -> float:
        return self._epoch + self.monotonic()

    def monotonic(self) -> float:
        return self._elapsed_ns / _NANO

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        # At least a nanosecond: a loop that sleeps for what is left must always get somewhere.
        wakes_ns = self._elapsed_ns + max(1, round(seconds * _NANO))
        sleeper = _Sleeper(wakes_ns, self._slept, asyncio.get_running_loop().create_future())
        self._slept += 1
        heapq.heappush(self._sleepers, sleeper)
        await sleeper.wake

    def next_wake(self) -> float | None:
        """When the next sleeper wakes, on the :meth:`monotonic` scale; ``None`` if nobody sleeps."""
        self._drop_cancelled()
        return self._sleepers[0].wakes_ns / _NANO if self._sleepers else None

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` go by. Whoever's sleep ends in them wakes at exactly that time, one after the other in
        the order of their ends, each with its turn to act (and to sleep again) before the next one wakes.
        """
        if seconds < 0:
            raise ValueError("time does not go back")
        if self._advancing:
            raise RuntimeError("another task is advancing this clock")
        self._advancing = True
        try:
            await self._advance_to(self._elapsed_ns + round(seconds * _NANO))
        finally:
            self._advancing = False

    async def _advance_to(self, target_ns: int) -> None:
        await settle()
        self._drop_cancelled()
        while self._sleepers and self._sleepers[0].wakes_ns <= target_ns:
            sleeper = heapq.heappop(self._sleepers)
            self._elapsed_ns = sleeper.wakes_ns
            sleeper.wake.set_result(None)
            await settle()
            self._drop_cancelled()
        self._elapsed_ns = target_ns

    def _drop_cancelled(self) -> None:
        while self._sleepers and self._sleepers[0].wake.done():
            heapq.heappop(self._sleepers)


async def settle() -> None:
    """Return when every other task of this event loop waits for something: time, input, another thread.

    What another thread or process is about to answer is not waited for. Needs asyncio's own event loop.
    """
    ready = _ready_queue(asyncio.get_running_loop())
    await asyncio.sleep(0)
    for _ in range(_TOO_BUSY):
        if not ready:
            return
        await asyncio.sleep(0)
    raise RuntimeError(f"the tasks of this event loop did not come to rest in {_TOO_BUSY} turns")


def _ready_queue(loop: asyncio.AbstractEventLoop) -> Sized:
    # Private, but asyncio has no public way to ask whether anything else is ready to run, and a fixed number of
    # turns would be a guess that a longer chain of tasks proves wrong.
    ready = getattr(loop, "_ready", None)
    if not isinstance(ready, Sized):
        raise RuntimeError("the virtual clock needs asyncio's own event loop")
    return ready
