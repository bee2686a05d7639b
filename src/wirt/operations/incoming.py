"""What another host's daemon asks of this one while a domain moves here: its terms, a place, and how it stands."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict

from wirt.model.errors import BadInput, IllegalState, NotFound
from wirt.model.migration import Outcome, Receipt
from wirt.operations.console_past import take_piece
from wirt.operations.environment import Environment
from wirt.operations.given_memory import GIVEN, argument
from wirt.operations.handovers import Attempt
from wirt.operations.jobs.step import JobKind
from wirt.operations.present import VCPUS
from wirt.operations.receipts import keep
from wirt.operations.receive_terms import consider, given_of, memory_of
from wirt.operations.running import cpu_argument
from wirt.wire.v1_incoming import ConsolePiece, Leave, Offer, Opened, OpenedDoor, Standing, Terms
from wirt.wire.v1_incoming import Remark as WireRemark

OPEN_S = 60.0
"""So long a QEMU may take to wait for its guest."""
LONGEST_WAIT_S = 20.0
QUEUED, QUEUED_S = "queued", 5.0
"""While another move brings a layer that this one needs, the source is told to ask again after so long."""
MOST_KEPT = 100
"""Attempts that are remembered for sources that never said how it ended; far more than run at once."""


async def terms(environment: Environment, offer: Offer) -> Terms:
    """Nothing is done."""
    considered = await consider(environment, offer)
    facts = await environment.hypervisor.facts()
    return Terms(
        host=environment.machine.name,
        hypervisor_version=list(facts.version),
        accelerator=str(facts.accelerator),
        remarks=[WireRemark(each.blocks, each.what, each.remedy) for each in considered.remarks],
        placements=list(considered.placements),
        compares_cpus=True,
        takes_offline=True,
        takes_turns=True,
        brings_offline=True,
        counts_vcpus=True,
        keeps_memory=True,
        plugs_memory=True,
        files=list(considered.files),
    )


async def prepare(environment: Environment, offer: Offer, *, through_ssh: bool) -> dict[str, object]:
    """Make everything ready for the guest; the answer (:class:`~wirt.wire.v1_incoming.Opened`) comes once it, or a
    layer of its disks, is waited for. Asked again about the same hand-over, the same answer."""
    attempt = _heard(environment, offer.handover)
    if attempt is None:
        attempt = await _begin(environment, offer, through_ssh)
    began = environment.clock.monotonic()
    deadline = began + OPEN_S
    while attempt.opened is None:
        job = environment.jobs.get(attempt.job)
        if job.state.finished:
            error = job.error
            raise IllegalState(
                error.message if error is not None else "the move has ended", hint=error.hint if error else None
            )
        if attempt.phase == QUEUED and environment.clock.monotonic() >= began + QUEUED_S:
            return asdict(Opened(attempt.job, OpenedDoor()))
        if environment.clock.monotonic() >= deadline:
            raise IllegalState(f"{environment.machine.name} was not ready within {OPEN_S:g} s")
        await _any(environment, attempt, began + QUEUED_S if attempt.phase == QUEUED else deadline)
    return attempt.opened


async def _begin(environment: Environment, offer: Offer, through_ssh: bool) -> Attempt:
    async with environment.turns.accepting:  # what one is promised is no longer there for the next
        try:
            return await _accept(environment, offer, through_ssh)
        finally:
            environment.turns.arrivals.came(offer.handover)


async def _accept(environment: Environment, offer: Offer, through_ssh: bool) -> Attempt:
    if offer.handover in environment.incoming:
        return environment.incoming[offer.handover]
    considered = await consider(environment, offer)
    blocking = next((remark for remark in considered.remarks if remark.blocks), None)
    if blocking is not None:
        raise IllegalState(blocking.what, hint=blocking.remedy)
    for old in list(environment.incoming)[:-MOST_KEPT]:
        del environment.incoming[old]
    attempt = environment.incoming[offer.handover] = Attempt("", environment.clock.monotonic())
    arguments: dict[str, object] = {
        "uuid": offer.uuid,
        "handover": offer.handover,
        "offer": asdict(offer),
        "text": considered.domain.text,
        "files": [each.key for each in considered.files if each.copied],
        "copies": {each.vdev: each.volume for each in considered.placements if not each.shared},
        "chained": [each.vdev for each in considered.placements if each.layers],
        "through-ssh": through_ssh,
    }
    if offer.start or not offer.offline:
        given_mib = 0 if offer.offline else offer.memory_mib
        config = considered.domain.config
        arguments["memory_mib"] = max(given_mib or config.most_mib, config.memory_mib)
    if not offer.offline:
        terms = {GIVEN: argument(memory_of(offer)), VCPUS: offer.vcpus}
        arguments |= {"cpu": cpu_argument(given_of(offer)), **terms}
    kind = JobKind.RECEIVE_OFFLINE if offer.offline else JobKind.RECEIVE
    try:
        job = await environment.jobs.submit(kind, offer.name, arguments)
    except BaseException:
        del environment.incoming[offer.handover]
        raise
    attempt.job = job.id
    return attempt


async def take_console(environment: Environment, handover: str, piece: ConsolePiece) -> None:
    """Something that the guest has printed where it is."""
    attempt = _heard(environment, handover)
    if attempt is None:
        raise NotFound(f"there is no hand-over {handover} under way")
    take_piece(attempt, piece)


async def stands_still(environment: Environment, handover: str) -> None:
    """The source's guest does, with a last rest to go: what is sent to it waits at its new cards from now on, and
    would be lost at the old ones. Should it go on there after all, its hypervisor says so."""
    attempt = _heard(environment, handover)
    if attempt is None:
        raise NotFound(f"there is no hand-over {handover} under way")
    if attempt.herald is not None and await environment.handovers.outcome(handover) is not Outcome.ABORTED:
        attempt.herald.announce()


async def give_leave(environment: Environment, handover: str, leave: Leave | None = None) -> Standing:
    """The source stands still and leaves it to this host to go on, if all has arrived."""
    attempt = _heard(environment, handover)
    if attempt is not None:
        if leave is not None and leave.console is not None:
            with contextlib.suppress(BadInput):  # no reason for anybody to stand still
                take_piece(attempt, leave.console)
        attempt.leave.set()
        await _concluded(environment, attempt, 0.0 if leave is None else min(leave.wait_s, LONGEST_WAIT_S))
    return await _standing(environment, handover)


async def _concluded(environment: Environment, attempt: Attempt, wait_s: float) -> None:
    """The guest goes on here, or its job is over; or so long has passed."""
    deadline = environment.clock.monotonic() + wait_s
    while attempt.resumed_at is None and attempt.phase != "done":
        if environment.jobs.get(attempt.job).state.finished or environment.clock.monotonic() >= deadline:
            return
        await _any(environment, attempt, deadline)


async def standing(environment: Environment, handover: str, phase: str, wait_s: float) -> Standing:
    """How it stands; as soon as that is no longer ``phase``, or after ``wait_s``."""
    attempt = _heard(environment, handover)
    if attempt is not None and wait_s > 0 and attempt.phase == phase:
        await _any(environment, attempt, environment.clock.monotonic() + min(wait_s, LONGEST_WAIT_S))
        _heard(environment, handover)
    return await _standing(environment, handover)


async def abort(environment: Environment, handover: str) -> Standing:
    """The source wants its guest back. Answered once it can have it, or never more."""
    attempt = _heard(environment, handover)
    if await environment.handovers.abort(handover) is not Outcome.OWNED and attempt is not None and attempt.job:
        await environment.jobs.cancel(attempt.job)
        await environment.jobs.wait(attempt.job)
    return await _standing(environment, handover)


async def close(environment: Environment, handover: str, receipt: Receipt) -> None:
    """The source knows how it ended, and asks no more."""
    if await environment.handovers.outcome(handover) is Outcome.OPEN:
        raise NotFound(f"there is no hand-over {handover} that has ended")
    environment.incoming.pop(handover, None)
    await keep(environment, receipt)


async def _standing(environment: Environment, handover: str) -> Standing:
    outcome, clock = await environment.handovers.outcome(handover), environment.clock
    attempt = environment.incoming.get(handover)
    if attempt is None:
        return Standing(str(outcome), clock=clock.now())
    error = None
    with contextlib.suppress(NotFound):  # it has not been submitted yet, or is forgotten
        error = environment.jobs.get(attempt.job).error
    return Standing(
        outcome=str(outcome),
        phase=attempt.phase,
        message=error.message if error is not None else "",
        hint=error.hint if error is not None else None,
        clock=clock.now(),
        resumed_at=attempt.resumed_at,
        health=attempt.health,
        clock_step_s=attempt.clock_step_s,
    )


def _heard(environment: Environment, handover: str) -> Attempt | None:
    attempt = environment.incoming.get(handover)
    if attempt is not None:
        attempt.heard_at = environment.clock.monotonic()
    return attempt


async def _any(environment: Environment, attempt: Attempt, deadline: float) -> None:
    """Until something about ``attempt`` changes, its job included, or ``deadline`` (monotonic)."""
    job = environment.jobs.get(attempt.job)
    waits = {
        asyncio.create_task(attempt.change()),
        asyncio.create_task(environment.jobs.wait_change(job)),
        asyncio.create_task(environment.clock.sleep(max(0.0, deadline - environment.clock.monotonic()))),
    }
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
