"""The scheduler's own loop: every run is held to its terms, also after a new daemon, a host that was slept, or
somebody else's hands."""

from __future__ import annotations

import asyncio

import structlog

from wirt.operations.distribution import distribute_once
from wirt.operations.environment import Environment
from wirt.operations.memory_nodes import look_around
from wirt.operations.placement import Distribution
from wirt.operations.scheduling import lay

log = structlog.get_logger()

LOOK_EVERY_S = 5.0
NODES_EVERY_S = 30.0
"""Where memory lies is looked at so rarely: the kernel looks at each page for it, and it hardly ever moves."""
"""Of runs against the record. The distributor's turn comes after each pass of the accounting."""


class SchedulingLoop:
    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Once the domains have been taken over."""
        self._tasks = [asyncio.create_task(self._keep())]
        if self._environment.scheduling.placement.mode is not Distribution.OFF:
            self._tasks += [asyncio.create_task(self._distribute()), asyncio.create_task(self._look_around())]

    async def stop(self) -> None:
        """Guests stay where they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            try:
                await lay(self._environment)
            except Exception:
                log.exception("runs could not be held to their shares; it will be tried again")
            await self._environment.clock.sleep(LOOK_EVERY_S)

    async def _look_around(self) -> None:
        while True:
            try:
                await look_around(self._environment)
            except Exception:
                log.exception("it could not be seen where guests' memory lies; it will be tried again")
            await self._environment.clock.sleep(NODES_EVERY_S)

    async def _distribute(self) -> None:
        while True:
            await self._environment.accounting.passed()
            try:
                await distribute_once(self._environment)
            except Exception:
                log.exception("vCPUs could not be distributed; it will be tried again")
