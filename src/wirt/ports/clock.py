"""Time, handed in, so that everything which decides can be run under a virtual clock."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


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
