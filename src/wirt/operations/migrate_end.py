"""How a move ends on the side that the domain leaves, whether it runs there or is off.

Before leave was given the other host is told that nothing comes of it. From then on only that host knows whose the
domain is (:mod:`wirt.operations.handovers`): it is asked until it says so, and nothing is done before. Then the
domain goes on here, or is forgotten.

Notes: ``leave``, once the other side may have been given leave; ``outcome``, once it is known; ``health``, how it
does there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog

from wirt.model.errors import IllegalState, WirtError
from wirt.model.migration import Outcome
from wirt.model.storage import VolumeRef
from wirt.operations.boot_files import drop_unused_files
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import StepFunction
from wirt.operations.migrate import MoveWish, take_proofs
from wirt.operations.migrate_link import Link, ask_for_good
from wirt.operations.moving import stay
from wirt.operations.running import EnvContext
from wirt.operations.volumes_domain import release_volumes
from wirt.operations.volumes_steps import remove_volumes
from wirt.ports.clock import within
from wirt.wire.v1_incoming import Standing

log = structlog.get_logger()

TELL_S = 10.0
LONGEST_PAUSE_S = 5.0
INTERRUPTED = "wirtd ended in the middle of the move; the domain stays here"


def wish_of(context: EnvContext) -> MoveWish:
    return MoveWish(**context.job.arguments["wish"])


def uuid_of(context: EnvContext) -> UUID:
    return UUID(context.job.arguments["uuid"])


def link_of(context: EnvContext) -> Link:
    link = context.transient.get("link")
    if not isinstance(link, Link):
        raise IllegalState(INTERRUPTED)
    return link


def once(do: StepFunction[Environment]) -> StepFunction[Environment]:
    """A step that another daemon can't take up, and that a job which only asks how a move has ended leaves out."""

    async def first_time(context: EnvContext) -> None:
        if context.job.arguments.get("conclude"):
            return
        if context.repeated:
            raise IllegalState(INTERRUPTED)
        await do(context)

    return first_time


def may_be_gone(context: EnvContext) -> bool:
    """Leave was given, and it is not known that the other side does without."""
    notes = context.job.notes
    return bool(notes.get("leave")) and notes.get("outcome") != Outcome.ABORTED


async def disagree(context: EnvContext) -> None:
    """The other side finds out by itself if it can't be told."""
    notes, arguments = context.job.notes, context.job.arguments
    link = context.transient.pop("link", None)
    if "began_at" in notes and "outcome" not in notes:
        try:
            await ask_for_good(context.environment, wish_of(context).target, arguments["handover"], TELL_S)
        except WirtError as error:
            log.warning("the other host could not be told that a move is off", error=str(error))
    if link is not None:
        await link.close()
    domain = context.environment.domains.get(uuid_of(context))
    if domain is not None:  # of a daemon that died before it took them away
        with contextlib.suppress(WirtError):
            await take_proofs(context.environment, domain, arguments["handover"])
    if not may_be_gone(context):
        await stay(context.environment, uuid_of(context), arguments["domid"])


async def give_leave(
    context: EnvContext, give: Callable[[EnvContext], Coroutine[Any, Any, Standing]], within_s: float
) -> None:
    """``give`` does so; returns once the other side has the domain. Repeated by another daemon, or of a job that
    only asks how a move has ended, nothing is given any more. ``IllegalState`` if the domain stays here."""
    standing: Standing | None = None
    failure: WirtError | None = None
    if context.repeated and not (context.job.notes.get("leave") or context.job.arguments.get("conclude")):
        raise IllegalState(INTERRUPTED)
    await context.note(leave=True)
    if not context.repeated and not context.job.arguments.get("conclude"):
        try:
            standing = await within(context.environment.clock, within_s, give(context), "the other host's word")
        except WirtError as error:
            failure = error
    if standing is None or standing.outcome != Outcome.OWNED:
        standing = await _know(context)
    await note_outcome(context, standing)
    if standing.outcome != Outcome.OWNED:
        said = f": {standing.message}" if standing.message else ""
        raise failure or IllegalState(f"{context.job.arguments['host']} did not take {context.job.subject}{said}")


def concluded(forget_here: StepFunction[Environment]) -> StepFunction[Environment]:
    """The undo of what comes after leave: whoever has the domain, it is brought to its end."""

    async def conclude(context: EnvContext) -> None:
        if not context.job.notes.get("leave"):
            return
        if context.job.notes.get("outcome") is None:
            await note_outcome(context, await _know(context))
        if context.job.notes["outcome"] == Outcome.OWNED:
            await forget_here(context)

    return conclude


async def _know(context: EnvContext) -> Standing:
    """Ask until there is an answer: only then is anything done. Meanwhile other moves have their turn."""
    adrift = context.environment.turns.adrift
    adrift.add(context.job.id)
    try:
        return await _answered(context)
    finally:
        adrift.discard(context.job.id)


async def _answered(context: EnvContext) -> Standing:
    environment, target = context.environment, wish_of(context).target
    host, pause_s = context.job.arguments["host"], 0.2
    while True:
        if context.job.arguments["handover"] in environment.taken_back:
            return Standing(outcome=Outcome.ABORTED, message="somebody here took the guest back")
        try:
            return await ask_for_good(environment, target, context.job.arguments["handover"])
        except WirtError as error:
            words = f"the guest stands still until {host} says whether it has it ({error.message})"
            context.progress(words, context.job.progress)
            log.warning("a move can't be concluded", domain=context.job.subject, host=host, error=str(error))
        await environment.clock.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def note_outcome(context: EnvContext, standing: Standing) -> None:
    """With how long the domain stood still, if both moments are known."""
    link = context.transient.get("link")
    stood_at, offset = context.transient.get("stood_at"), link.offset_s if link is not None else None
    blackout = None
    if stood_at is not None and standing.resumed_at is not None and offset is not None:
        blackout = max(0.0, standing.resumed_at - offset - stood_at)
    await context.note(outcome=standing.outcome, blackout_s=blackout)


async def hear_how_it_does(context: EnvContext, within_s: float) -> Standing | None:
    """For so long at most. ``None`` if it is known already, or nobody says."""
    link = context.transient.get("link")
    if link is None or context.job.notes.get("health") is not None:
        return None
    try:
        standing = await within(context.environment.clock, within_s, _lived(link), "how the guest does")
    except WirtError as error:
        log.warning("the other host did not say how the guest does", error=str(error))
        return None
    await context.note(health=standing.health, clock_step_s=standing.clock_step_s)
    return standing


async def _lived(link: Link) -> Standing:
    standing = await link.standing()
    while standing.phase and standing.health is None and standing.phase != "done":
        standing = await link.standing(standing.phase, 5.0)
    return standing


async def forget(context: EnvContext) -> None:
    """The record, and what was copied: once the guest has been seen to live on the copy."""
    environment, uuid = context.environment, uuid_of(context)
    domain = environment.domains.get(uuid)
    if domain is not None:
        await release_volumes(environment, uuid)
        await environment.domains.remove(uuid)
        host = context.job.arguments["host"]
        message = f"it has moved to {host}"
        environment.tell(replace(domain, incarnation=None), reason="moved", message=message)
    await drop_unused_files(environment)
    health = context.job.notes.get("health")
    lives = health in ("runs", "paused") or (health == "off" and context.job.arguments["domid"] is None)
    if lives and not wish_of(context).keep:
        copies = [VolumeRef.parse(each) for each in context.job.arguments["copies"]]
        await remove_volumes(environment, copies)
