"""Moves take turns: so many leave this host side by side, and so many arrive.

Whoever leaves waits for both hosts: first for this one, then for the other, which is asked again and again until
it has room (:func:`take_turn`). A place that was promised is kept for a while (:class:`Arrivals`). Of guests that
arrive, the memory that they will need is promised as well (:func:`promised_bytes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import TypeAdapter

from wirt.model.job import Job, JobState, StepState
from wirt.model.units import MIB
from wirt.operations.jobs.step import JobKind
from wirt.plan.turns import Leaving, waits_for
from wirt.wire.v1_incoming import Turn

if TYPE_CHECKING:
    from wirt.operations.environment import Environment
    from wirt.operations.running import EnvContext
    from wirt.ports.peers import Peer

LEAVING = (JobKind.MIGRATE, JobKind.MIGRATE_OFFLINE)
ARRIVING = (JobKind.RECEIVE, JobKind.RECEIVE_OFFLINE)
LOOK_S = 1.0
ASK_S = 10.0
HEARD_S = 15.0
"""Whoever has not asked again for so long does not wait any more."""
PROMISED_S = 60.0
"""So long a place is kept for one that was told to come."""
MOST_WAITING = 1000

_TURN = TypeAdapter(Turn)


@dataclass(slots=True)
class _Asked:
    first_at: float
    heard_at: float
    promised_at: float | None = None


@dataclass(slots=True)
class Arrivals:
    """Who has asked to come to this host, by hand-over, and has not come yet. Times are monotonic."""

    _asked: dict[str, _Asked] = field(default_factory=dict)

    def ask(self, handover: str, now: float, arriving: AbstractSet[str], at_once: int) -> Turn:
        """Whether it may come now. Who asked first comes first."""
        self._forget(now, arriving)
        if handover in arriving:
            return Turn(True)
        entry = self._asked.setdefault(handover, _Asked(now, now))
        entry.heard_at = now
        promised = [each for each in self._asked.values() if each.promised_at is not None]
        if entry.promised_at is not None:
            return Turn(True)
        before = [
            each for each in self._asked.values() if each.promised_at is None and each.first_at < entry.first_at
        ]
        ahead = len(arriving) + len(promised) + len(before)
        if ahead >= at_once:
            return Turn(False, ahead)
        entry.promised_at = now
        return Turn(True)

    def came(self, handover: str) -> None:
        """Its job is what counts from here on, if it was taken: the place is free again once that is over."""
        self._asked.pop(handover, None)

    def _forget(self, now: float, arriving: AbstractSet[str]) -> None:
        for handover, entry in list(self._asked.items()):
            promised = entry.promised_at
            over = now - entry.heard_at > HEARD_S if promised is None else now - promised > PROMISED_S
            if over or handover in arriving:
                del self._asked[handover]
        for handover in list(self._asked)[: max(0, len(self._asked) - MOST_WAITING)]:
            del self._asked[handover]


@dataclass(slots=True)
class Turns:
    choosing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever looks whether it may begin."""
    accepting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held from the look at what is free here to the record of who takes it."""
    arrivals: Arrivals = field(default_factory=Arrivals)
    adrift: set[str] = field(default_factory=set)
    """Jobs that wait for the word of a host that does not answer."""


async def take_turn(context: EnvContext, peer: Peer) -> None:
    """Returns once this move may begin, on both hosts. Cancelled, it has taken nothing."""
    environment = context.environment
    while True:
        async with environment.turns.choosing:
            words = _here(environment, context.job) or await _there(context, peer)
            if words is None:
                await context.note(turn=True)
                return
        context.progress(f"waits: {words}", 0.0)
        await environment.clock.sleep(LOOK_S)


def _here(environment: Environment, job: Job) -> str | None:
    all_ = {each.id: _leaving(each) for each in environment.jobs.all() if _waits_or_moves(environment, each)}
    mine = all_.pop(job.id, _leaving(job))
    return waits_for(mine, all_.values(), environment.settings.migrations_at_once)


def _waits_or_moves(environment: Environment, job: Job) -> bool:
    """A job that another one of its domain is before does neither yet; one whose guest has changed hands, or that
    waits until it knows whether it has, sends nothing any more."""
    if job.kind not in LEAVING or job.arguments.get("conclude") or job.id in environment.turns.adrift:
        return False
    return job.state in (JobState.RUNNING, JobState.UNDOING) and job.notes.get("outcome") is None


def _leaving(job: Job) -> Leaving:
    wish = job.arguments["wish"]
    begun, target = bool(job.notes.get("turn")), wish["target"]
    return Leaving(job.id, target, job.created_at, begun, wish.get("batch"), wish.get("at_once"))


async def _there(context: EnvContext, peer: Peer) -> str | None:
    if not context.job.arguments.get("turns"):
        return None  # an older wirt, which takes whatever comes
    path = f"/v1/incoming/{context.job.arguments['handover']}/turn"
    turn = _TURN.validate_python(await peer.call("GET", path, deadline_s=ASK_S))
    return None if turn.granted else f"{turn.ahead} come to {peer.name} before it"


def may_come(environment: Environment, handover: str) -> Turn:
    """Asked by the source, until it may."""
    arriving = {str(job.arguments["handover"]) for job in _arriving(environment) if not _arrived(job)}
    now, at_once = environment.clock.monotonic(), environment.settings.migrations_at_once
    return environment.turns.arrivals.ask(handover, now, arriving, at_once)


def promised_bytes(environment: Environment, but: UUID) -> int:
    """Memory that guests on their way here will take and have not taken yet, those of ``but`` aside."""
    total = 0
    for job in _arriving(environment):
        uuid = UUID(job.arguments["uuid"])
        if uuid == but:
            continue
        domain = environment.domains.get(uuid)
        run = domain.incarnation if domain is not None else None
        taken = environment.machine.resident_bytes(run.pid) if run is not None and run.pid is not None else 0
        total += max(0, int(job.arguments.get("memory_mib", 0)) * MIB - taken)
    return total


def _arrived(job: Job) -> bool:
    """Whether its guest has changed hands: nothing more of it comes."""
    return any(step.name == "own" and step.state is StepState.DONE for step in job.steps)


def _arriving(environment: Environment) -> list[Job]:
    return [job for job in environment.jobs.all() if job.kind in ARRIVING and not job.state.finished]
