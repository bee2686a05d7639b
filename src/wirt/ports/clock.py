"""Time, handed in, so that everything which decides can be run under a virtual clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from wirt.model.errors import DeadlinePassed

T = TypeVar("T")


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch (what people read)."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back (what deadlines count)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once ``seconds`` have gone by (at once, but after a turn of the others, if not positive)."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        # Not time.monotonic(): that stands still while the machine is suspended, and a host that slept through
        # its lease would believe that it still holds it. clock_gettime(2), CLOCK_BOOTTIME.
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0))


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, T], what: str) -> T:
    """``work``'s result. ``DeadlinePassed`` says that ``what`` did not come in time; then it has been stopped."""
    task, timer = asyncio.create_task(work), asyncio.create_task(clock.sleep(seconds))
    try:
        await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise DeadlinePassed(f"{what} did not come within {seconds:g} s")
        return task.result()
    finally:
        for each in (task, timer):
            each.cancel()
        await asyncio.gather(task, timer, return_exceptions=True)
