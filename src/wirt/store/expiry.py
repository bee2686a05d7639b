"""Ends leases when their time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from wirt.model.errors import StoreClosed, WirtError
from wirt.ports.clock import Clock
from wirt.store.tree import Lease

_RETRY_S = 1.0
"""How long to wait after a lease could not be ended (the disk is full) before trying again."""


class Expiry:
    """One task a lease that sleeps until the lease's end, however often that moves meanwhile.

    ``end`` makes the end of a lease durable; the store's owner then calls ``stop``.
    """

    def __init__(self, clock: Clock, end: Callable[[int], Awaitable[object]]) -> None:
        self._clock = clock
        self._end = end
        self._ends_at: dict[int, float] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def start(self, lease: Lease) -> None:
        self.renew(lease)
        task = asyncio.create_task(self._watch_over(lease.number), name=f"store lease {lease.number}")
        self._tasks[lease.number] = task

    def renew(self, lease: Lease) -> None:
        self._ends_at[lease.number] = self._clock.monotonic() + lease.ttl_s

    def is_due(self, lease: int) -> bool:
        """Whether its time is over. From then on it must not be renewed: its end may be on its way to disk."""
        return self._left_s(lease) <= 0

    def stop(self, lease: int) -> None:
        del self._ends_at[lease]
        self._tasks.pop(lease).cancel()

    def close(self) -> None:
        for lease in tuple(self._tasks):
            self.stop(lease)

    def _left_s(self, lease: int) -> float:
        return self._ends_at[lease] - self._clock.monotonic()

    async def _watch_over(self, lease: int) -> None:
        while lease in self._ends_at:
            left_s = self._left_s(lease)
            if left_s > 0:
                await self._clock.sleep(left_s)
                continue
            try:
                await self._end(lease)
            except StoreClosed:
                return
            except WirtError:
                await self._clock.sleep(_RETRY_S)
