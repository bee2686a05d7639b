"""An undo that meets what does not answer waits for it, for a while; then nothing is left half done."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from wirt.model.errors import HypervisorError, HypervisorSilent, Unavailable, WirtError
from wirt.model.job import Job, JobState, Recovery, StepState
from wirt.operations.jobs.engine import UNDO_AGAIN_S, UNDO_WITHIN_S, Engine
from wirt.operations.jobs.step import JobKind, Operation, Step
from wirt.ports.virtual_clock import VirtualClock
from wirt.store.memory import MemoryStore


@dataclass
class Server:
    """``away`` is what whoever asks it for something is told; ``kept`` what it has of a job."""

    away: WirtError | None = None
    kept: set[str] = field(default_factory=set)


async def make(context: Any) -> None:
    context.environment.kept.add(context.job.id)


async def unmake(context: Any) -> None:
    if context.environment.away is not None:
        raise context.environment.away
    context.environment.kept.discard(context.job.id)


async def fail(context: Any) -> None:
    raise HypervisorError("it went wrong")


async def nothing(context: Any) -> None:
    pass


OPERATION: Operation[Server] = Operation(
    JobKind.VOLUME_CREATE, (Step("make", make, unmake), Step("fail", fail, nothing)), recovery=Recovery.UNDO
)


class World:
    def __init__(self) -> None:
        self.server, self.clock = Server(), VirtualClock()
        numbers = count(1)
        self.engine = Engine(
            self.server,
            MemoryStore(self.clock),
            self.clock,
            {JobKind.VOLUME_CREATE: OPERATION},
            lambda: f"j{next(numbers)}",
            lambda job: None,
        )

    async def begin(self) -> Job:
        """One that fails; as far as it comes by itself."""
        job = await self.engine.submit(JobKind.VOLUME_CREATE, "volume nfs/web", {})
        for _ in range(200):
            await asyncio.sleep(0)
        return self.engine.get(job.id)

    async def end(self, job: Job) -> Job:
        async with asyncio.timeout(10):
            return await self.engine.wait(job.id)


AWAY = [Unavailable("the server does not answer"), HypervisorSilent("QEMU gave no answer")]


@pytest.mark.parametrize("away", AWAY)
async def test_what_a_server_kept_goes_once_it_is_back(away: WirtError) -> None:
    world = World()
    world.server.away = away
    job = await world.begin()
    assert job.state is JobState.UNDOING
    assert "undoing make waits" in job.message
    await world.clock.advance(UNDO_AGAIN_S * 3)
    assert world.engine.get(job.id).state is JobState.UNDOING
    world.server.away = None
    await world.clock.advance(UNDO_AGAIN_S)
    job = await world.end(job)
    assert (job.state, world.server.kept) == (JobState.FAILED, set())
    assert job.error is not None
    assert (job.error.message, job.error.hint) == ("it went wrong", None)


async def test_an_undo_waits_no_longer_than_it_says_and_tells_what_it_left() -> None:
    world = World()
    world.server.away = AWAY[0]
    job = await world.begin()
    await world.clock.advance(UNDO_WITHIN_S + UNDO_AGAIN_S)
    job = await world.end(job)
    assert (job.state, job.steps[0].state) == (JobState.FAILED, StepState.UNDO_FAILED)
    assert "undoing make failed: the server does not answer" in str(job.error)


async def test_who_cancels_what_is_being_undone_has_it_wait_no_longer() -> None:
    world = World()
    world.server.away = AWAY[0]
    job = await world.begin()
    await world.engine.cancel(job.id)
    await world.clock.advance(UNDO_AGAIN_S)
    assert "undoing make failed" in str((await world.end(job)).error)


async def test_an_undo_that_fails_otherwise_does_not_wait() -> None:
    world = World()
    world.server.away = HypervisorError("no")
    assert (await world.begin()).state is JobState.FAILED
