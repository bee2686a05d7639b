"""The host's own loop: what runs here is what should run here.

At the daemon's start it takes over every recorded run and every unfinished job; from then on it follows the
hypervisor's events and does what the domain's configuration says should follow.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace

import structlog

from wirt.model.domain import Domain
from wirt.model.errors import WirtError
from wirt.model.lifecycle import Action, EndReason, State
from wirt.model.migration import Outcome
from wirt.operations.boot_files import tidy_boot_files
from wirt.operations.conclude import action_for, conclude
from wirt.operations.environment import Environment
from wirt.operations.memory_grants import why_ended
from wirt.operations.migrate import conclude_move
from wirt.operations.moving import Move, move_of, stay
from wirt.operations.power import poweroff_means
from wirt.operations.vif import mend as mend_cards
from wirt.ports.hypervisor import Observed, RunChanged

log = structlog.get_logger()

COMPARE_EVERY_S = 2.0

RESTARTS_WITHIN_S = 60.0
MOST_RESTARTS = 5
"""A guest that ends five times a minute will not do better the sixth time."""

_RESTARTING = {Action.RESTART, Action.RENAME_RESTART, Action.COREDUMP_RESTART, Action.SOFT_RESET}


class HostLoop:
    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._restarts: dict[str, deque[float]] = {}
        self._unconcluded: list[RunChanged] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._cards_tried: dict[tuple[int, int], float] = {}

    async def start(self) -> None:
        """Adopt first, so that jobs which are taken up can act on what runs; conclude last."""
        environment = self._environment
        # At once: each may take seconds to find out that its guest does not answer.
        adopted = await asyncio.gather(*(self._adopt(domain) for domain in environment.domains))
        missed = [change for change in adopted if change is not None]
        await environment.jobs.recover()
        await self._sweep()
        for change in missed:
            await self._conclude(change)
        await environment.handovers.forget_old()
        await tidy_boot_files(environment)
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._compare())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _adopt(self, domain: Domain) -> RunChanged | None:
        """Take over one recorded run; what happened to it meanwhile, if it has ended."""
        incarnation = domain.incarnation
        if incarnation is None:
            return None
        environment = self._environment
        directory = environment.directory(incarnation.domid)
        try:
            observed = await environment.hypervisor.adopt(incarnation, directory)
        except WirtError as error:
            # It stays listed, it can be destroyed, and the next comparison tries again.
            log.warning("run not adopted", domain=domain.name, domid=incarnation.domid, error=str(error))
            environment.domains.observe(domain.uuid, State.STARTING, None, f"not adopted: {error}")
            return None
        message = ""
        if observed is None:
            observed = Observed(State.OFF, EndReason.CRASH)
            message = why_ended(environment, domain, "it was gone when wirtd came back")
        log.info("run adopted", domain=domain.name, domid=incarnation.domid, state=str(observed.state))
        environment.tell(environment.domains.observe(domain.uuid, observed.state, observed.end, message))
        if observed.end is None:
            return None
        return RunChanged(domain.uuid, incarnation.domid, observed.state, observed.end, message)

    async def _sweep(self) -> None:
        """Runs that nothing records are what crashes leave."""
        environment = self._environment
        known = (domain.domid for domain in environment.domains if domain.domid is not None)
        directories = frozenset(environment.directory(domid) for domid in known)
        await environment.hypervisor.sweep(environment.settings.runs, directories)

    async def _follow(self) -> None:
        async for change in self._environment.hypervisor.changes():
            try:
                await self._changed(change)
            except Exception:
                # One domain's trouble must not end the loop that all the others depend on.
                log.exception("an event could not be followed", domain=str(change.domain))

    async def _compare(self) -> None:
        environment = self._environment
        while True:
            await environment.clock.sleep(COMPARE_EVERY_S)
            again, self._unconcluded = self._unconcluded, []
            for change in again:
                await self._conclude(change)
            for domain in list(environment.domains):
                if domain.incarnation is not None and not environment.jobs.busy(domain.uuid):
                    try:
                        await self._mend(domain)
                    except Exception:
                        log.exception("a run could not be seen to; it will be tried again", domain=domain.name)

    async def _mend(self, domain: Domain) -> None:
        """A run that is over and still recorded, with no job that would see to it, is what a failed job leaves;
        one that could not be adopted may be by now."""
        move = move_of(domain)
        if move is not None:
            await self._mend_move(domain, move)
        elif domain.state is State.OFF:
            log.info("run tidied", domain=domain.name, domid=domain.domid)
            message = "its end had failed"
            await conclude(self._environment, domain, EndReason.DESTROYED, Action.DESTROY, message)
        elif domain.state is State.STARTING:
            if change := await self._adopt(domain):
                await self._conclude(change)
        else:
            await mend_cards(self._environment, domain, self._cards_tried)

    async def _mend_move(self, domain: Domain, move: Move) -> None:
        """One that no job is at any more. Whoever it leaves for is asked; of what came here it is known."""
        environment = self._environment
        if move.leaves:
            await conclude_move(environment, domain)
        elif await environment.handovers.abort(move.handover) is Outcome.OWNED:
            await stay(environment, domain.uuid, domain.domid or 0)
        else:
            message = f"it did not arrive from {move.host}"
            await conclude(environment, domain, EndReason.DESTROYED, Action.DESTROY, message)

    async def _changed(self, change: RunChanged) -> None:
        environment = self._environment
        domain = environment.domains.get(change.domain)
        if domain is None or domain.domid != change.domid or domain.incarnation is None:
            return
        if change.end is EndReason.CRASH:
            change = replace(change, message=why_ended(environment, domain, change.message))
        before = (domain.state, domain.incarnation.end)
        domain = environment.domains.observe(change.domain, change.state, change.end, change.message)
        if (change.state, change.end) != before:
            environment.tell(domain, message=change.message)
        if change.end is not None and before[1] is None:
            await self._conclude(change)
        elif change.state is State.OFF and not environment.jobs.busy(domain.uuid):
            # A run that had been preserved, and is gone now.
            await conclude(environment, domain, EndReason.DESTROYED, Action.DESTROY, change.message)

    async def _conclude(self, change: RunChanged) -> None:
        """See to what follows an end. If that can't even be written down (the disk is full, most often), it is
        tried again later: the event will not come twice."""
        try:
            await self._concluded(change)
        except WirtError as error:
            log.error("an end was not followed up", domain=str(change.domain), error=str(error))
            self._unconcluded.append(change)

    async def _concluded(self, change: RunChanged) -> None:
        environment = self._environment
        domain = environment.domains.get(change.domain)
        if domain is None or domain.domid != change.domid or change.end is None:
            return
        if change.end is EndReason.DESTROYED and environment.jobs.busy(domain.uuid):
            return  # our own doing, and the job that does it tidies up
        if move_of(domain) is not None:
            # Whose it is comes first: it may have gone on elsewhere.
            self._unconcluded.append(change)
            return
        end = poweroff_means(domain, change.end)
        action, message = action_for(domain, end), change.message
        if action in _RESTARTING and self._too_often(domain):
            action = Action.DESTROY
            message = f"it ended {MOST_RESTARTS} times within {RESTARTS_WITHIN_S:g} s and is not started again"
        log.info("run ended", domain=domain.name, reason=str(end), action=str(action), message=message)
        await conclude(environment, domain, end, action, message)

    def _too_often(self, domain: Domain) -> bool:
        now = self._environment.clock.monotonic()
        times = self._restarts.setdefault(domain.name, deque(maxlen=MOST_RESTARTS))
        if len(times) == MOST_RESTARTS and now - times[0] < RESTARTS_WITHIN_S:
            del self._restarts[domain.name]
            return True
        times.append(now)
        return False
