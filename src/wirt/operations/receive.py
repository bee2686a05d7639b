"""The receiving side of a move: a domain comes in from another host.

Until the step ``own`` has written its word the guest is the source's, and everything here is taken back when
anything goes wrong, when the source says so, or when it falls silent. From that word on the guest is this host's,
and nothing takes it back. The steps before can't be repeated by another daemon: what was on its way is lost.

Arguments: ``uuid``, ``handover``, ``offer`` (:class:`~wirt.wire.v1_incoming.Offer`), ``text`` (as it is here),
``files`` (the keys of those that it is to start from and that are not here), ``copies`` (``vdev`` to
``POOL/VOLUME``), ``chained`` (those of them that stand on layers here as they do there). Notes: ``domid``;
``made``, the volumes that are this job's to remove; ``layers``.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from pathlib import PurePosixPath
from uuid import UUID

import structlog
from pydantic import TypeAdapter

from wirt.config.xlcfg import load
from wirt.model.errors import IllegalState, NotFound, Unavailable, WirtError
from wirt.model.job import Recovery
from wirt.model.lifecycle import State
from wirt.model.migration import Outcome
from wirt.operations.boot_files import drop_unused_files
from wirt.operations.console_past import begin_console
from wirt.operations.environment import Environment
from wirt.operations.handovers import Attempt
from wirt.operations.hearing import unless_silent
from wirt.operations.jobs.step import JobKind, Operation, Step, StepFunction, nothing_to_undo
from wirt.operations.moving import stay
from wirt.operations.receive_disks import make_disks, unmake_disks
from wirt.operations.receive_doors import comes_early, open_entrance
from wirt.operations.receive_files import bring_files
from wirt.operations.receive_streams import Intake
from wirt.operations.receive_terms import read
from wirt.operations.running import (
    EnvContext,
    clear,
    domain_of,
    launch,
    let_volumes_go,
    number_and_plug,
    take_volumes,
    unplug,
)
from wirt.ports.migration import Course, LiveMigrations, Phase
from wirt.ports.peers import Peers
from wirt.wire.v1_incoming import Offer

log = structlog.get_logger()

INTERRUPTED = "wirtd ended in the middle of the move; the guest is the source's"
LOOK_S = 0.2
HEALTH_S = 2.0
"""For so long the guest is watched before the move counts as done."""
BREATH_S = 0.3
"""For so long nothing is asked of it or of its hypervisor."""


_OFFER = TypeAdapter(Offer)


def offer_of(context: EnvContext) -> Offer:
    return _OFFER.validate_python(context.job.arguments["offer"])


def course_of(offer: Offer) -> Course:
    return Course(**asdict(offer.course))


def live_of(environment: Environment) -> LiveMigrations:
    if environment.live_migrations is None:
        raise Unavailable("this host's hypervisor can't move guests")
    return environment.live_migrations


def peers_of(environment: Environment) -> Peers:
    if environment.peers is None:
        raise Unavailable("this host talks to no others")
    return environment.peers


def attempt_of(context: EnvContext) -> Attempt:
    attempt = context.environment.incoming.get(context.job.arguments["handover"])
    if attempt is None:
        raise IllegalState(INTERRUPTED)
    return attempt


def once(do: StepFunction[Environment]) -> StepFunction[Environment]:
    """A step that another daemon can't take up."""

    async def first_time(context: EnvContext) -> None:
        if context.repeated:
            raise IllegalState(INTERRUPTED)
        attempt_of(context).tell(phase=context.job.message)
        await do(context)

    return first_time


def unless_owned(undo: StepFunction[Environment]) -> StepFunction[Environment]:
    """Nothing is ever taken from a guest that is this host's. What is not decided yet is decided here."""

    async def guarded(context: EnvContext) -> None:
        if await context.environment.handovers.abort(context.job.arguments["handover"]) is not Outcome.OWNED:
            await undo(context)

    return guarded


async def _reserve(context: EnvContext) -> None:
    environment, arguments = context.environment, context.job.arguments
    attempt_of(context).tell(phase="reserve")
    if await environment.handovers.outcome(arguments["handover"]) is not Outcome.OPEN:
        raise IllegalState("the source has given this move up already")
    offer, text = offer_of(context), arguments["text"]
    config = load(text, file="<stored>", cwd=PurePosixPath("/")).config
    domain = replace(read(environment, offer), config=config, text=text, created_by=context.job.id)
    await environment.domains.add(domain)


async def _forget(context: EnvContext) -> None:
    environment, uuid = context.environment, UUID(context.job.arguments["uuid"])
    domain = environment.domains.get(uuid)
    if domain is not None and domain.created_by == context.job.id:
        await environment.domains.remove(uuid)
        environment.tell(replace(domain, incarnation=None), reason="not received")
    await drop_unused_files(environment)


async def _make(context: EnvContext) -> None:
    """The files that it starts from, volumes for the disks that come along, and what these stand on."""
    intake = Intake(context, attempt_of(context), offer_of(context), peers_of(context.environment))
    await bring_files(intake)
    await make_disks(intake)


async def _plug(context: EnvContext) -> None:
    """With somebody who speaks for the cards until the guest can."""
    await number_and_plug(context)
    attempt_of(context).herald = context.environment.network.herald(context.transient["plugged"])


async def _unplug(context: EnvContext) -> None:
    attempt = context.environment.incoming.get(context.job.arguments["handover"])
    if attempt is not None:
        attempt.dismiss_herald()  # a tap that he holds does not go
    await unplug(context)


async def _launch(context: EnvContext) -> None:
    """While QEMU starts, what is sent may already be on its way to it."""
    offer = offer_of(context)
    if comes_early(context, offer):
        entrance = await open_entrance(context, offer, peers_of(context.environment))
        context.transient["entrance"] = entrance
        attempt_of(context).tell(opened=asdict(entrance.opened))
    await launch(context)  # what fails is cleared away, the entrance as well


async def _clear(context: EnvContext) -> None:
    entrance = context.transient.pop("entrance", None)
    if entrance is not None:
        await entrance.close()
    await clear(context)


async def _receive(context: EnvContext) -> None:
    """Open the doors, tell the source where they are, and take what comes: all that the guest needs."""
    environment, attempt, offer = context.environment, attempt_of(context), offer_of(context)
    uuid, live = UUID(context.job.arguments["uuid"]), live_of(environment)
    entrance = context.transient.pop("entrance", None)
    if entrance is None:
        entrance = await open_entrance(context, offer, peers_of(environment))
    try:
        await entrance.serve(live, uuid, tuple(context.job.arguments["copies"]))
        attempt.tell(opened=asdict(entrance.opened), phase="waiting")

        async def memory() -> Phase:
            channel = await entrance.memory()
            attempt.tell(phase="receiving")
            return await live.receive(uuid, channel, course_of(offer))

        await unless_silent(environment, attempt, offer.source, memory())
        attempt.tell(phase="arrived")
    finally:
        await entrance.close()


async def _own(context: EnvContext) -> None:
    """Once the source has given leave: the word, and at once the guest goes on. Repeated by another daemon, the
    word has been written or it never will be."""
    environment, arguments = context.environment, context.job.arguments
    handover = arguments["handover"]
    if context.repeated:
        outcome = await environment.handovers.abort(handover)
    else:
        attempt, source = attempt_of(context), offer_of(context).source
        await unless_silent(environment, attempt, source, attempt.leave.wait())
        _check_lives(context)
        begin_console(environment, UUID(arguments["uuid"]), attempt)
        outcome = await environment.handovers.own(handover, environment.domains, UUID(arguments["uuid"]))
    if outcome is not Outcome.OWNED:
        raise IllegalState("the source has taken its guest back")
    await _set_going(context)


def _check_lives(context: EnvContext) -> None:
    """As long as nothing is decided the source has it whole, and can go on with it."""
    domain = domain_of(context)
    if domain.incarnation is None or domain.incarnation.end is not None or domain.state is State.OFF:
        raise IllegalState(f"{domain.name} arrived and did not live until the source had left")


async def _resume(context: EnvContext) -> None:
    """From here on it is a run as any."""
    if "goes" not in context.transient:
        await _set_going(context)
    await stay(context.environment, domain_of(context).uuid, context.job.notes["domid"])


async def _set_going(context: EnvContext) -> None:
    """A run that did not live to see this is gone, and its end is followed up as any."""
    environment, domain = context.environment, domain_of(context)
    attempt = environment.incoming.get(context.job.arguments["handover"])
    if attempt is not None and attempt.herald is not None:
        attempt.herald.announce()  # whether or not the source has asked for it: its guest is here
    if not offer_of(context).paused and domain.incarnation is not None and domain.state is not State.OFF:
        await environment.hypervisor.resume(domain.uuid)
        environment.tell(environment.domains.observe(domain.uuid, State.RUNNING), reason="arrived")
    if attempt is not None:
        attempt.tell(phase="resumed", resumed_at=environment.clock.now())
        attempt.dismiss_herald()
    context.transient["goes"] = True


async def _look_after(context: EnvContext) -> None:
    """Whether it bears the new place; and its clock, which stood still meanwhile."""
    environment, uuid = context.environment, UUID(context.job.arguments["uuid"])
    attempt = environment.incoming.get(context.job.arguments["handover"])
    paused = offer_of(context).paused
    settling = asyncio.create_task(_settle_in(environment, uuid, paused=paused))
    try:
        health = await health_of(environment, uuid, paused=paused)
        step_s = await settling
    finally:
        settling.cancel()
    if attempt is not None:
        attempt.tell(phase="done", health=health, clock_step_s=step_s)
    if health not in ("runs", "paused"):
        raise IllegalState(
            f"domain {context.job.subject} arrived and did not survive: it is {health}",
            hint=f"wirt list, wirt console {context.job.subject} and wirtd.log show more",
        )


async def _settle_in(environment: Environment, uuid: UUID, *, paused: bool) -> float | None:
    """What it is asked at once it does before whatever it was about to do itself: emulated, all its code is new to
    this host, and an answer of its agent alone costs 20 ms of CPU (measured). By how much its clock was set."""
    await environment.clock.sleep(BREATH_S)
    await settle_there(environment, uuid)
    return None if paused else await _set_clock(environment, uuid)


async def settle_there(environment: Environment, uuid: UUID) -> None:
    """A guest that does not hear of it goes on all the same; should it move again, that is told then."""
    try:
        await live_of(environment).settle(uuid)
    except (NotFound, WirtError) as error:
        log.warning("what a guest's way needed is still there", domain=str(uuid), error=str(error))


async def health_of(environment: Environment, uuid: UUID, *, paused: bool) -> str:
    clock = environment.clock
    end = clock.monotonic() + HEALTH_S
    while True:
        domain = environment.domains.get(uuid)
        if domain is None or domain.incarnation is None:
            return "gone"
        if domain.incarnation.end is not None:
            return str(domain.incarnation.end)
        if domain.state is State.PAUSED and paused:
            return "paused"
        if domain.state is not State.RUNNING:
            return str(domain.state)
        if clock.monotonic() >= end:
            return "runs"
        await clock.sleep(LOOK_S)


async def _set_clock(environment: Environment, uuid: UUID) -> float | None:
    """By how many seconds. Without an agent (``None``) the guest's clock lacks the blackout, until something in it
    mends that."""
    agents, clock = environment.hypervisor.agents, environment.clock
    try:
        if not await agents.available(uuid):
            return None
        was, now = await agents.time(uuid), clock.now()
        await agents.set_time(uuid, clock.now())
    except WirtError as error:
        log.warning("a guest's clock could not be set after its move", domain=str(uuid), error=str(error))
        return None
    return now - was


async def _keep_going(context: EnvContext) -> None:
    """Something failed after the word was written: the guest goes on here all the same."""
    environment = context.environment
    if await environment.handovers.abort(context.job.arguments["handover"]) is Outcome.OWNED:
        try:
            await _resume(context)
            await settle_there(environment, UUID(context.job.arguments["uuid"]))
        except (NotFound, WirtError) as error:
            log.error("a guest that arrived could not go on", domain=context.job.subject, error=str(error))
    attempt = environment.incoming.get(context.job.arguments["handover"])
    if attempt is not None:
        attempt.tell(phase="done")


RECEIVE = Operation(
    JobKind.RECEIVE,
    (
        Step("reserve", _reserve, unless_owned(_forget)),
        Step("make", once(_make), unless_owned(unmake_disks), interruptible=True),
        Step("disks", once(take_volumes), unless_owned(let_volumes_go)),
        Step("plug", once(_plug), unless_owned(_unplug)),
        Step("launch", once(_launch), unless_owned(_clear)),
        Step("receive", once(_receive), nothing_to_undo, interruptible=True),
        Step("own", _own, _keep_going, final=True),
        Step("resume", _resume, _keep_going, final=True),
        Step("look-after", _look_after, nothing_to_undo, final=True, binding=True),
    ),
    recovery=Recovery.FINISH,
)
