"""Time, handed in, so that everything which decides can be run under a virtual clock."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch (what people read)."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back (what deadlines count)."""
        ...

    async def sleep(self, seconds: float) -> None: ...
