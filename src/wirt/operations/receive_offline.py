"""The receiving side of a move of a domain that is off.

As for one that runs (:mod:`wirt.operations.receive`), all is taken back until ``own`` has written its word. Then
the domain is this host's, and is started if it ran before. Should that fail it is here, and off.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import asdict, replace
from pathlib import PurePosixPath
from uuid import UUID

from wirt.config.xlcfg import load
from wirt.model.domain import Domain
from wirt.model.errors import IllegalState
from wirt.model.job import Recovery
from wirt.model.migration import Outcome
from wirt.operations.boot_files import drop_unused_files
from wirt.operations.environment import Environment
from wirt.operations.handovers import Attempt
from wirt.operations.hearing import unless_silent
from wirt.operations.jobs.step import JobKind, Operation, Step, StepFunction, nothing_to_undo
from wirt.operations.offline_disks import receive_disks
from wirt.operations.receive import (
    attempt_of,
    health_of,
    offer_of,
    once,
    peers_of,
    unless_owned,
)
from wirt.operations.receive_disks import make_disks, unmake_disks
from wirt.operations.receive_doors import opened_door
from wirt.operations.receive_files import bring_files
from wirt.operations.receive_streams import Intake
from wirt.operations.receive_terms import read
from wirt.operations.running import (
    EnvContext,
    clear,
    launch,
    let_volumes_go,
    number_and_plug,
    resume,
    take_volumes,
    unplug,
)
from wirt.wire.v1_incoming import Certificates, Opened, OpenedDoor


def _attempt(context: EnvContext) -> Attempt | None:
    return context.environment.incoming.get(context.job.arguments["handover"])


def _received(context: EnvContext) -> Domain:
    """As it is here, once it is."""
    offer, text = offer_of(context), context.job.arguments["text"]
    config = load(text, file="<stored>", cwd=PurePosixPath("/")).config
    return replace(read(context.environment, offer), config=config, text=text, created_by=context.job.id)


async def _reserve(context: EnvContext) -> None:
    environment, handover = context.environment, context.job.arguments["handover"]
    attempt_of(context).tell(phase="reserve")
    if await environment.handovers.outcome(handover) is not Outcome.OPEN:
        raise IllegalState("the source has given this move up already")
    await environment.domains.add(_received(context))


async def _forget(context: EnvContext) -> None:
    environment, uuid = context.environment, UUID(context.job.arguments["uuid"])
    domain = environment.domains.get(uuid)
    if domain is not None and domain.created_by == context.job.id:
        await environment.domains.remove(uuid)
        environment.tell(domain, reason="not received")
    await drop_unused_files(environment)


async def _make(context: EnvContext) -> None:
    """The files that it starts from, volumes for the disks that come along, and what these stand on."""
    intake = Intake(context, attempt_of(context), offer_of(context), peers_of(context.environment))
    await bring_files(intake)
    await make_disks(intake)


async def _receive(context: EnvContext) -> None:
    """Its disks, if they come along; then the source gives its leave. One that falls silent has it still."""
    attempt, peers, ssh = attempt_of(context), peers_of(context.environment), context.job.arguments["through-ssh"]
    if not context.job.arguments["copies"]:
        attempt.tell(opened=asdict(Opened(context.job.id, OpenedDoor(), ready=True)), phase="waiting")
        return await _taken(context, attempt, None)
    mine, theirs = (None, None) if ssh else await peers.credentials()
    door = await peers.open_door(through_ssh=ssh, token=True)
    try:
        certificates = None if theirs is None else Certificates(**asdict(theirs))
        opened = Opened(
            job=context.job.id,
            memory=OpenedDoor(),
            disks=opened_door(door.door),
            certificates=certificates,
            chained=list(context.job.arguments.get("chained", ())),
            ready=True,
        )
        attempt.tell(opened=asdict(opened), phase="waiting")
        await _taken(context, attempt, receive_disks(context, door, mine))
    finally:
        door.close()


async def _taken(context: EnvContext, attempt: Attempt, disks: Coroutine[None, None, None] | None) -> None:
    source = offer_of(context).source
    await unless_silent(context.environment, attempt, source, _disks_and_leave(attempt, disks))
    attempt.tell(phase="arrived")


async def _disks_and_leave(attempt: Attempt, disks: Coroutine[None, None, None] | None) -> None:
    if disks is not None:
        attempt.tell(phase="receiving")
        await disks
    await attempt.leave.wait()


async def _own(context: EnvContext) -> None:
    """The word. Repeated by another daemon, it has been written or it never will be."""
    environment, arguments = context.environment, context.job.arguments
    handovers, handover = environment.handovers, arguments["handover"]
    if context.repeated:
        outcome = await handovers.abort(handover)
    else:
        outcome = await handovers.own(handover, environment.domains, UUID(arguments["uuid"]))
    if outcome is not Outcome.OWNED:
        raise IllegalState("the source has taken its domain back")
    attempt = _attempt(context)
    if attempt is not None:
        attempt.tell(phase="owned")
    domain = environment.domains.get(UUID(arguments["uuid"]))
    if domain is not None:
        environment.tell(domain, reason="arrived")


async def _keep(context: EnvContext) -> None:
    """Something failed just after the word was written: what would have followed does all the same."""
    environment, arguments = context.environment, context.job.arguments
    if await environment.handovers.abort(arguments["handover"]) is Outcome.OWNED and offer_of(context).start:
        words = {"uuid": arguments["uuid"], "paused": False}
        await environment.jobs.submit(JobKind.START, context.job.subject, words)
    attempt = _attempt(context)
    if attempt is not None:
        attempt.tell(phase="done")


def if_started(do: StepFunction[Environment]) -> StepFunction[Environment]:
    async def guarded(context: EnvContext) -> None:
        if offer_of(context).start:
            await do(context)

    return guarded


async def _off(context: EnvContext) -> None:
    """It could not be started: it is here, and off, and not to be lost by that."""
    environment, uuid = context.environment, UUID(context.job.arguments["uuid"])
    if offer_of(context).start:
        await let_volumes_go(context)
        if environment.domains.get(uuid) is not None:
            await environment.domains.change(uuid, persistent=True)
    attempt = _attempt(context)
    if attempt is not None:
        attempt.tell(phase="done", health="off")


async def _look_after(context: EnvContext) -> None:
    environment, attempt = context.environment, _attempt(context)
    if not offer_of(context).start:
        if attempt is not None:
            attempt.tell(phase="done", health="off")
        return
    if attempt is not None:
        attempt.tell(phase="started", resumed_at=environment.clock.now())
    health = await health_of(environment, UUID(context.job.arguments["uuid"]), paused=False)
    if attempt is not None:
        attempt.tell(phase="done", health=health)


RECEIVE_OFFLINE = Operation(
    JobKind.RECEIVE_OFFLINE,
    (
        Step("reserve", _reserve, unless_owned(_forget)),
        Step("make", once(_make), unless_owned(unmake_disks), interruptible=True),
        Step("receive", once(_receive), nothing_to_undo, interruptible=True),
        Step("own", _own, _keep, final=True),
        Step("disks", if_started(take_volumes), _off),
        Step("plug", if_started(number_and_plug), if_started(unplug)),
        Step("launch", if_started(launch), if_started(clear)),
        Step("resume", if_started(resume), nothing_to_undo, final=True),
        Step("look-after", _look_after, nothing_to_undo, final=True, binding=True),
    ),
    recovery=Recovery.FINISH,
)
