"""Ballooning by itself: between ``memory`` and ``maxmem`` each guest gets what it needs of what the host has.

``advising`` tells what would be done, ``on`` does it (``ballooning`` in wirt.toml). What is done is a plan with
its proof (:mod:`wirt.plan.memory`): nobody falls below his ``memory``, and nobody grows into what is not free now.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from wirt.model.domain import Domain
from wirt.model.errors import WirtError
from wirt.model.lifecycle import State
from wirt.operations.environment import Environment
from wirt.operations.memory import planned
from wirt.operations.memory_grants import grant
from wirt.operations.running import MOVING
from wirt.plan.memory import Target

log = structlog.get_logger()

LOOK_EVERY_S = 10.0
ADVISING, ON = "advising", "on"


class MemoryLoop:
    """``mode`` is ``off``, ``advising`` or ``on``."""

    def __init__(self, environment: Environment, mode: str) -> None:
        self._environment = environment
        self._mode = mode
        self._task: asyncio.Task[None] | None = None
        self._told: dict[UUID, int] = {}

    def start(self) -> None:
        if self._mode in (ADVISING, ON):
            self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Guests keep what they have."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Once."""
        if not any(_can_balloon(domain) for domain in self._environment.domains):
            return
        found = await planned(self._environment)
        if not found.plan.holds.holds:
            log.warning("guests hold more memory than there is", sum=found.plan.holds.text)
        # Whoever gives comes first: what it gives is nobody's until the next plan.
        for target in sorted(found.plan.targets, key=lambda target: target.target - target.has):
            domain = self._environment.domains.named(target.guest)
            if target.changes and domain is not None and self._free(domain):
                await self._change(domain, target)

    async def _keep(self) -> None:
        while True:
            await self._environment.clock.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except WirtError as error:
                log.warning("memory could not be looked at", error=str(error))

    def _free(self, domain: Domain) -> bool:
        """Nothing is being done to it that its memory could disturb, or that is about its memory."""
        return _can_balloon(domain) and not self._environment.jobs.busy(domain.uuid)

    async def _change(self, domain: Domain, target: Target) -> None:
        if self._mode == ON:
            try:
                await grant(self._environment, domain, target.target)
            except WirtError as error:
                log.warning("a guest's memory could not be changed", domain=domain.name, error=str(error))
                return
        elif self._told.get(domain.uuid) == target.target:
            return
        self._told[domain.uuid] = target.target
        change = "memory-ballooned" if self._mode == ON else "memory-advice"
        about = {"has_mib": target.has, "target_mib": target.target, "why": target.reason}
        self._environment.tell(domain, change=change, **about)


def _can_balloon(domain: Domain) -> bool:
    run = domain.incarnation
    return run is not None and run.state is State.RUNNING and MOVING not in run.notes
