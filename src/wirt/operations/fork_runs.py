"""The runs of a fork's copies: each is begun as any run is, in the one job."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import structlog

from wirt.model.devices import VifKind
from wirt.model.errors import WirtError
from wirt.model.job import Job
from wirt.model.lifecycle import State
from wirt.operations.clone import plans_of
from wirt.operations.environment import Environment
from wirt.operations.given_memory import GIVEN, PADDING
from wirt.operations.present import VCPUS
from wirt.operations.running import (
    EnvContext,
    clear,
    domain_of,
    launch,
    let_volumes_go,
    number,
    plug,
    resume,
    take_volumes,
    unplug,
)
from wirt.plan.clones import ClonePlan

AT_ONCE = 4
"""Runs that begin at the same time: more only get into each other's way."""

log = structlog.get_logger()


class _Copy:
    """A job's context as the steps of one copy's run see it (:class:`~wirt.operations.jobs.step.Context`): the
    arguments are those of a start, the notes lie among the job's own."""

    def __init__(self, context: EnvContext, plan: ClonePlan, writing: asyncio.Lock) -> None:
        self._context = context
        self._plan = plan
        self._writing = writing

    @property
    def environment(self) -> Environment:
        return self._context.environment

    @property
    def job(self) -> Job:
        job = self._context.job
        arguments = {
            "uuid": str(self._plan.uuid),
            "paused": job.arguments["paused"] or job.notes.get("was") == State.PAUSED,
            "memory": job.notes.get("memory"),
            GIVEN: job.notes.get(GIVEN),
            PADDING: job.notes.get(PADDING),
            VCPUS: job.notes.get(VCPUS),
            "cpu": job.arguments.get("cpu"),
        }
        return replace(job, subject=self._plan.name, arguments=arguments, notes=_noted(job, self._plan))

    @property
    def transient(self) -> dict[str, Any]:
        whole = self._context.transient
        return whole.setdefault(str(self._plan.uuid), {})  # type: ignore[no-any-return]

    @property
    def repeated(self) -> bool:
        return self._context.repeated

    async def note(self, **notes: Any) -> None:
        async with self._writing:
            runs = self._context.job.notes.get("runs", {})
            mine = {**_noted(self._context.job, self._plan), **notes}
            await self._context.note(runs={**runs, str(self._plan.uuid): mine})

    def progress(self, message: str, share: float) -> None:
        """Several at once have none to tell."""


def _noted(job: Job, plan: ClonePlan) -> dict[str, Any]:
    return dict(job.notes.get("runs", {}).get(str(plan.uuid), {}))


def begun_at(context: EnvContext, plan: ClonePlan) -> float | None:
    """Seconds from the command to the copy's first instruction."""
    after = _noted(context.job, plan).get("after")
    return None if after is None else float(after)


def _copies(context: EnvContext) -> list[_Copy]:
    writing = asyncio.Lock()
    return [_Copy(context, plan, writing) for plan in plans_of(context)]


async def begin(context: EnvContext) -> None:
    """Once one has failed no other begins, and none is cut in two."""
    free = asyncio.Semaphore(AT_ONCE)
    copies = _copies(context)
    failures: list[BaseException] = []
    done = 0

    async def one(copy: _Copy) -> None:
        nonlocal done
        async with free:
            if failures:
                return
            try:
                await _begin(copy, pulled=context.job.arguments["network"] == "none")
            except BaseException as failure:
                failures.append(failure)
                raise
            done += 1
            context.progress(f"copies that go on: {done} of {len(copies)}", 0.7 + 0.3 * done / len(copies))

    await asyncio.gather(*map(one, copies), return_exceptions=True)
    for failure in failures:
        raise failure


async def _begin(copy: _Copy, *, pulled: bool) -> None:
    await take_volumes(copy)
    await number(copy)
    await plug(copy)
    await launch(copy)
    if pulled:
        await _pull_cables(copy)
    await resume(copy)
    await copy.note(after=round(copy.environment.clock.now() - copy.job.created_at, 3))
    await _set_clock(copy)


async def _pull_cables(copy: _Copy) -> None:
    """The guest believes that it has its source's addresses, and would fight with it over them: a card's own comes
    with the guest's memory, whatever the device was made with. One behind a network of its own (``net=user``)
    meets nobody."""
    environment, domain = copy.environment, domain_of(copy)
    if domain.incarnation is None:
        return
    notes = dict(domain.incarnation.notes)
    for key, kind in domain.incarnation.notes.items():
        word, _, devid = key.partition(".")
        if word == "kind" and kind == VifKind.BRIDGE:
            await environment.hypervisor.set_link(domain.uuid, int(devid), up=False)
            notes[f"link.{devid}"] = "down"
    if notes != domain.incarnation.notes:
        await environment.domains.start_run(replace(domain.incarnation, notes=notes))


async def _set_clock(copy: _Copy) -> None:
    """It stood still since the instant. Without an agent it lacks that, until something in the guest mends it."""
    agents, uuid = copy.environment.hypervisor.agents, domain_of(copy).uuid
    try:
        if not copy.job.arguments["paused"] and await agents.available(uuid):
            await agents.set_time(uuid, copy.environment.clock.now())
    except WirtError as error:
        log.warning("a copy's clock could not be set", domain=str(uuid), error=str(error))


async def end(context: EnvContext) -> None:
    """However far each of them got."""
    for copy in _copies(context):
        await clear(copy)
        await unplug(copy)
        await let_volumes_go(copy)
