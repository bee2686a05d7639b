"""What runs may take of the host's memory follows what their balloons leave their guests
(:mod:`wirt.plan.memory_limit`)."""

from __future__ import annotations

import asyncio

import structlog

from wirt.model.domain import Domain
from wirt.model.errors import Unavailable, WirtError
from wirt.model.lifecycle import State
from wirt.model.units import MIB
from wirt.operations.environment import Environment
from wirt.operations.given_memory import huge_pages, noted
from wirt.operations.memory import check_room
from wirt.operations.memory_grants import beside_of, grant, most_of, size_of
from wirt.operations.running import MOVING
from wirt.plan.memory_limit import Seen, at_rest, limit_for, next_limit
from wirt.plan.qos import guaranteed_mib
from wirt.ports.balloons import Balloon
from wirt.ports.memory_limits import MemoryUse

log = structlog.get_logger()

LOOK_EVERY_S = 5.0
ASK_EVERY_S = 60.0
"""Guests that are far from their limits are asked so rarely: it takes four questions to QEMU."""


class MemoryLimitsLoop:
    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._environment.memory_limits is not None:
            self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Limits stay as they are."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Once. Guests that have all that they can ever have are not asked."""
        environment = self._environment
        environment.grants.forget(
            {domain.uuid for domain in environment.domains if domain.incarnation is not None}
        )
        for domain in map(environment.qos_classes.of, list(environment.domains)):
            if _follows(domain) and not environment.jobs.busy(domain.uuid):
                try:
                    await self._hold(domain)
                except WirtError as error:
                    log.debug("a guest's memory is not bounded now", domain=domain.name, error=str(error))

    async def _keep(self) -> None:
        while True:
            await self._environment.clock.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except Exception:
                log.exception("guests' memory could not be bounded; it will be tried again")

    async def _hold(self, domain: Domain) -> None:
        environment, limits = self._environment, self._environment.memory_limits
        assert limits is not None and domain.domid is not None
        beside = await beside_of(environment, domain)
        directory = environment.directory(domain.domid)
        if self._rests(domain, limits.look(directory), beside):
            return
        balloon = await environment.hypervisor.balloons.look(domain.uuid)
        use = limits.look(directory)
        if use is None or environment.jobs.busy(domain.uuid):
            return
        kept, full = environment.grants.of(domain), balloon.most + beside
        if kept.mib is None:
            await self._ask_again(domain, balloon)
            return
        limit = full if use.limit_bytes is None else use.limit_bytes // MIB
        seen = Seen(
            most=balloon.most,
            granted=kept.mib,
            actual=balloon.actual,
            driver=balloon.driver,
            beside=beside,
            limit=limit,
            held=-(-use.held_bytes // MIB),
        )
        kept.looked_at = environment.clock.monotonic()
        found = next_limit(seen, kept.past, kept.looked_at)
        kept.past = found.past
        trouble = found.trouble
        try:
            if found.mib != limit:
                limits.bound(directory, found.mib * MIB)
        except Unavailable as error:
            trouble = f"{trouble or 'holds more than it may'}: {error.message}"
        self._tell(domain, trouble)

    async def _ask_again(self, domain: Domain, balloon: Balloon) -> None:
        """What an earlier daemon, or another host, asked for nobody knows: it may be more than the configuration
        says, and the guest on its way to it. So nothing is lowered before it was asked for what that says, which
        is not done to one that has more."""
        said = max(domain.config.memory_mib, guaranteed_mib(domain.config))
        if balloon.driver and balloon.actual <= said:
            check_room(self._environment, domain, said - balloon.actual)
            await grant(self._environment, domain, said)

    def _rests(self, domain: Domain, use: MemoryUse | None, beside: int) -> bool:
        kept, now = self._environment.grants.of(domain), self._environment.clock.monotonic()
        if use is None or use.limit_bytes is None or kept.mib is None or kept.told is not None:
            return False
        if kept.looked_at is None or now - kept.looked_at >= ASK_EVERY_S:
            return False
        most, held = most_of(domain, kept.mib), -(-use.held_bytes // MIB)
        wanted = limit_for(kept.mib, most, beside)
        return at_rest(use.limit_bytes // MIB, wanted, held, most, kept.past)

    def _tell(self, domain: Domain, trouble: str | None) -> None:
        """Once, until it is another trouble."""
        kept = self._environment.grants.of(domain)
        if trouble is not None and trouble != kept.told:
            log.warning("a guest does not keep to its memory", domain=domain.name, trouble=trouble)
            self._environment.tell(domain, change="memory-trouble", why=f"the guest {trouble}")
        kept.told = trouble


def _follows(domain: Domain) -> bool:
    run = domain.incarnation
    if run is None or run.state is not State.RUNNING or MOVING in run.notes or huge_pages(run.notes) is not None:
        return False
    return size_of(domain) > domain.config.memory_mib or noted(run.notes).hotplug_mib > 0
