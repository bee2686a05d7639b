"""The networks' own loop: what is amiss on the host is mended, or told where only a person can.

It looks when the kernel tells of a change, when a domain comes or goes, and every few seconds all the same.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from wirt.model.domain import Domain
from wirt.model.errors import WirtError
from wirt.operations.environment import Environment
from wirt.operations.networks import Mended
from wirt.operations.networks_upkeep import planned
from wirt.operations.vif import adopt_cards
from wirt.plan.networks import Problem
from wirt.plan.networks_actions import Action, ReloadServer

log = structlog.get_logger()

LOOK_EVERY_S = 5.0
AT_MOST_EVERY_S = 0.5
"""A guest that comes or goes makes many events."""
FILTERS_EVERY_S = 10.0


class NetworkLoop:
    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._tasks: list[asyncio.Task[None]] = []
        self._told: frozenset[str] = frozenset()

    async def prepare(self) -> None:
        """Before domains are taken over or started: after a boot of the host their bridges are to be there."""
        await self.look()

    async def start(self) -> None:
        """Once the domains have been taken over."""
        environment = self._environment
        for domain in environment.domains:
            if domain.incarnation is not None:
                await self._adopt_cards(domain)
        self._tasks = [
            asyncio.create_task(each) for each in (self._follow_domains(), self._keep(), self._filters())
        ]
        if environment.fabric is not None:
            self._tasks.append(asyncio.create_task(self._follow_kernel()))

    async def stop(self) -> None:
        """The networks stay."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def look(self) -> None:
        """Once. Whatever can't be mended is a problem that stays to be read, and is tried again."""
        environment = self._environment
        if environment.fabric is None or not self._concerned():
            return
        upkeep = environment.networks.upkeep
        async with upkeep.lock:
            try:
                found = await planned(environment)
            except WirtError as error:
                upkeep.problems = (Problem("", error.message, error.hint or ""),)
            else:
                failed = await self._mend(found.actions)
                upkeep.problems = (*found.problems, *failed)
        self._tell_problems()

    def _concerned(self) -> bool:
        """A host without networks and without guests in the default one costs nothing."""
        environment = self._environment
        return any(True for _ in environment.networks) or any(
            name.startswith("bridge.")
            for domain in environment.domains
            if domain.incarnation is not None
            for name in domain.incarnation.notes
        )

    async def _mend(self, todo: tuple[Action, ...]) -> list[Problem]:
        """What one network is refused does not keep the others from being mended."""
        environment = self._environment
        assert environment.fabric is not None
        failed: dict[str, Problem] = {}
        for action in todo:
            if action.network in failed:
                continue
            try:
                await environment.fabric.apply(action)
            except WirtError as error:
                failed[action.network] = Problem(action.network, error.message, error.hint or "")
                continue
            if not isinstance(action, ReloadServer):
                self._note(action)
        return list(failed.values())

    def _note(self, action: Action) -> None:
        environment = self._environment
        log.info("network mended", network=action.network or "all", action=str(action))
        mended = Mended(environment.clock.now(), action.network, str(action))
        environment.networks.upkeep.mended.append(mended)
        data = {"network": action.network or "all", "mended": str(action)}
        environment.bus.publish("network", None, None, data)

    def _tell_problems(self) -> None:
        """Each once, when it begins; and when all are over."""
        environment = self._environment
        present = {f"{each.network}: {each.message}": each for each in environment.networks.upkeep.problems}
        for text, problem in present.items():
            if text not in self._told:
                log.warning("network amiss", network=problem.network or "all", problem=problem.message)
                data = {"network": problem.network or "all", "problem": problem.message, "hint": problem.hint}
                environment.bus.publish("network", None, None, data)
        self._told = frozenset(present)

    async def _adopt_cards(self, domain: Domain) -> None:
        try:
            await adopt_cards(self._environment, domain)
        except WirtError as error:
            log.warning("cards not adopted", domain=domain.name, error=str(error))
        except Exception:
            # One domain's trouble must not keep the daemon from serving the others.
            log.exception("cards not adopted", domain=domain.name)

    async def _keep(self) -> None:
        environment = self._environment
        news = environment.networks.upkeep.news
        while True:
            with suppress(Exception):
                await self._look_and_log()
            await environment.clock.sleep(AT_MOST_EVERY_S)
            waiting = asyncio.ensure_future(news.wait())
            sleeping = asyncio.ensure_future(environment.clock.sleep(LOOK_EVERY_S))
            try:
                await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                sleeping.cancel()
            news.clear()

    async def _look_and_log(self) -> None:
        try:
            await self.look()
        except Exception:
            log.exception("the networks could not be looked at; it will be tried again")

    async def _follow_domains(self) -> None:
        async for happening in self._environment.bus.follow():
            if happening.kind == "domain":
                self._environment.networks.upkeep.news.set()

    async def _follow_kernel(self) -> None:
        assert self._environment.fabric is not None
        try:
            async for _ in self._environment.fabric.changes():
                self._environment.networks.upkeep.news.set()
        except OSError as error:
            log.warning("the kernel tells of no changes; wirt looks every few seconds", error=str(error))

    async def _filters(self) -> None:
        """Packet filters and rate limits of cards."""
        environment = self._environment
        while True:
            await environment.clock.sleep(FILTERS_EVERY_S)
            try:
                for sentence in await environment.network.mend():
                    log.warning("card's filters mended", what=sentence)
                    environment.networks.upkeep.mended.append(Mended(environment.clock.now(), "", sentence))
                    environment.bus.publish("network", None, None, {"network": "all", "mended": sentence})
            except WirtError as error:
                log.warning("filters not mended", error=str(error))
            except Exception:
                log.exception("the filters could not be looked at; it will be tried again")
