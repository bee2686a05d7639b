"""The sending side of a move, step by step.

Until ``hand-over`` the guest is this host's, and whatever goes wrong it goes on here. In ``hand-over`` it stands
still and the other host gets leave to go on with it. From there on only that host knows whose it is
(:mod:`wirt.operations.handovers`), so this one asks until it is told, and does nothing before: neither go on nor
forget. Another daemon that takes the job up there asks as well; one that finds an earlier step undone gives up.

Notes: ``leave``, once the other side may have been given leave; ``outcome``, once it is known; ``stood_at`` and
the like for the receipt.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

import structlog

from wirt.model.domain import Domain
from wirt.model.errors import IllegalState, WirtError
from wirt.model.job import Recovery
from wirt.model.lifecycle import State
from wirt.model.migration import Outcome
from wirt.model.storage import VolumeRef
from wirt.model.units import MIB
from wirt.operations.backup_busy import check_no_backup
from wirt.operations.boot_files import drop_unused_files
from wirt.operations.console_past import last_piece, send_past
from wirt.operations.jobs.step import JobKind, Operation, Step, StepFunction, nothing_to_undo
from wirt.operations.migrate import MoveWish, lay_proofs, make_offer, take_proofs
from wirt.operations.migrate_layers import send_layers
from wirt.operations.migrate_link import Link, ask_for_good, unless_lost
from wirt.operations.migrate_receipt import frames_so_far, write_up
from wirt.operations.moving import Move, set_out, stay
from wirt.operations.receive import course_of, live_of, peers_of
from wirt.operations.running import EnvContext, end_run
from wirt.operations.turns import take_turn
from wirt.operations.volumes_domain import release_volumes
from wirt.operations.volumes_steps import remove_volumes
from wirt.ports.clock import within
from wirt.ports.migration import Phase, Travelled
from wirt.wire.v1_incoming import Offer, Standing

log = structlog.get_logger()

TELL_S = 10.0
FINISH_S = 120.0
"""For the rest to go over, and for the other side to say that it has it."""
HEALTH_S = 20.0
LONGEST_PAUSE_S = 5.0
ROUNDS_BEFORE_GOING_OVER = 3
INTERRUPTED = "wirtd ended in the middle of the move; the guest goes on here"


def wish_of(context: EnvContext) -> MoveWish:
    return MoveWish(**context.job.arguments["wish"])


def _uuid(context: EnvContext) -> UUID:
    return UUID(context.job.arguments["uuid"])


def _link(context: EnvContext) -> Link:
    link = context.transient.get("link")
    if link is None:
        raise IllegalState(INTERRUPTED)
    assert isinstance(link, Link)
    return link


def _here(context: EnvContext) -> Domain:
    """The domain, as long as it runs here."""
    domain = context.environment.domains.get(_uuid(context))
    if domain is None or domain.domid != context.job.arguments["domid"] or domain.state is State.OFF:
        raise IllegalState(f"domain {context.job.subject} has ended meanwhile")
    if domain.incarnation is not None and domain.incarnation.end is not None:
        raise IllegalState(f"domain {context.job.subject} has ended meanwhile: {domain.incarnation.end}")
    return domain


async def _agree(context: EnvContext) -> None:
    """The other side makes ready, and waits."""
    environment, wish = context.environment, wish_of(context)
    peer = await peers_of(environment).reach(wish.target)
    try:
        await take_turn(context, peer)
        domain = _here(context)
        check_no_backup(environment, domain)
    except BaseException:
        await peer.close()
        raise
    link = context.transient["link"] = Link(environment, peer, context.job.arguments["handover"])
    offer = await make_offer(environment, domain, wish, context.job.arguments["handover"])
    offer = await lay_proofs(environment, offer)
    context.progress(f"{peer.name} makes ready", 0.02)
    await context.note(began_at=environment.clock.now())
    await set_out(environment, domain, Move(link.peer.name, context.job.arguments["handover"], wish.target))
    try:
        await link.prepare(asdict(offer))
    finally:
        await take_proofs(environment, domain, offer.handover)
    context.transient["offer"] = offer


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
    domain = context.environment.domains.get(_uuid(context))
    if domain is not None:  # of a daemon that died before it took them away
        with contextlib.suppress(WirtError):
            await take_proofs(context.environment, domain, arguments["handover"])
    if not notes.get("leave") or notes.get("outcome") == Outcome.ABORTED:
        await stay(context.environment, _uuid(context), arguments["domid"])


async def _disks(context: EnvContext) -> None:
    """First the kernel and what disks stand on, as far as the other side lacks it. Then disks, copied while the
    guest writes them; from then on each write goes to both."""
    link, offer, wish = _link(context), _offer(context), wish_of(context)
    await send_layers(context, link, offer, wish)
    copied = [disk for disk in offer.disks if disk.copied]
    opened, clock = link.opened, context.environment.clock
    began = clock.monotonic()
    for number, disk in enumerate(copied):
        assert opened is not None
        if opened.disks is None:
            raise IllegalState(f"{link.peer.name} waits for no disks")

        def tell(share: float, vdev: str = disk.vdev, number: int = number) -> None:
            whole = (number + share) / len(copied)
            context.progress(f"copying disk {vdev}: {share:.0%}", 0.05 + 0.55 * whole)

        channel = await link.channel(opened.disks)
        mirror = live_of(context.environment).mirror(
            _uuid(context),
            disk.vdev,
            channel,
            tell,
            bytes_per_s=wish.bytes_per_s,
            top=disk.vdev in opened.chained,
        )
        await unless_lost(link, mirror)
    if copied:
        layers = context.job.notes.get("layer_bytes", 0)
        copied_s = clock.monotonic() - began
        await context.note(disk_s=copied_s, disk_bytes=layers + sum(disk.size for disk in copied))


async def _memory(context: EnvContext) -> None:
    """Until the guest stands still with a last rest to go."""
    environment, link, offer = context.environment, _link(context), _offer(context)
    uuid, live, wish = _here(context).uuid, live_of(context.environment), wish_of(context)
    assert link.opened is not None
    context.transient["console"] = await send_past(environment, uuid, link)
    channel = await link.channel(link.opened.memory)
    going_over: list[asyncio.Task[None]] = []

    def report(travelled: Travelled) -> None:
        if travelled.phase is Phase.STANDING and "stood_at" not in context.transient:
            context.transient["stood_at"] = environment.clock.now()
        slowed = max(context.transient.get("throttle_percent", 0), travelled.throttle_percent)
        context.transient["throttle_percent"] = slowed  # it is 0 again at the end
        _tell(context, travelled)
        if not going_over and _should_go_over(wish, travelled):
            context.transient["postcopy"] = True
            going_over.append(asyncio.create_task(live.go_over(uuid)))

    try:
        sent = live.send(uuid, channel, course_of(offer), report)
        context.transient["travelled"] = await unless_lost(link, sent)
        context.transient.setdefault("stood_at", environment.clock.now())
        _here(context)
    finally:
        await asyncio.gather(*going_over, return_exceptions=True)
    if not going_over:
        # The rest goes over while the journal is written: without leave the other side does nothing with it.
        context.transient["finishing"] = asyncio.create_task(live.finish(uuid))
    context.transient["frames"] = await frames_so_far(environment, environment.domains.get(uuid))


def _should_go_over(wish: MoveWish, travelled: Travelled) -> bool:
    if travelled.phase is not Phase.COPYING or wish.postcopy == "never":
        return False
    if wish.postcopy == "now":
        return True
    losing = travelled.dirty_bytes_per_s > 0.7 * max(travelled.bytes_per_s, 1)
    return travelled.rounds > ROUNDS_BEFORE_GOING_OVER and losing


def _tell(context: EnvContext, travelled: Travelled) -> None:
    done = 1 - travelled.remaining_bytes / max(travelled.total_bytes, 1)
    words = f"memory: {travelled.sent_bytes // MIB} MiB sent, {travelled.remaining_bytes // MIB} to go"
    if travelled.bytes_per_s:
        left = travelled.remaining_bytes / travelled.bytes_per_s
        words += f", {travelled.bytes_per_s / MIB:.0f} MiB/s, round {travelled.rounds}, about {left:.1f} s left"
    context.progress(words, 0.62 + 0.28 * min(1.0, max(0.0, done)))


async def _go_on_here(context: EnvContext) -> None:
    """Never while the other side may have the guest."""
    finishing = context.transient.pop("finishing", None)
    if finishing is not None:
        finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)
    if context.job.notes.get("leave") and context.job.notes.get("outcome") != Outcome.ABORTED:
        return
    environment, uuid = context.environment, _uuid(context)
    domain = environment.domains.get(uuid)
    if domain is None or domain.domid != context.job.arguments["domid"] or domain.state is State.OFF:
        return
    if domain.incarnation is not None and domain.incarnation.end is None:
        await live_of(environment).back(uuid)


async def _hand_over(context: EnvContext) -> None:
    """Send the rest, give leave, and learn who has it."""
    standing, failure = None, None
    concluding = bool(context.job.arguments.get("conclude"))
    if concluding:
        await context.note(leave=True)
    elif context.repeated:
        if not context.job.notes.get("leave"):
            raise IllegalState(INTERRUPTED)
    else:
        await context.note(leave=True)
        try:
            standing = await within(context.environment.clock, FINISH_S, _over(context), "the rest of the guest")
        except WirtError as error:
            failure = error
    if standing is None or standing.outcome != Outcome.OWNED:
        standing = await know(context)
    await note_outcome(context, standing)
    if standing.outcome != Outcome.OWNED:
        said = f": {standing.message}" if standing.message else ""
        if isinstance(failure, WirtError):
            raise failure
        raise IllegalState(f"{context.job.arguments['host']} did not take the guest{said}")
    await _deliver(context)
    await _note_arrival(context)


async def _note_arrival(context: EnvContext) -> None:
    environment, before = context.environment, context.transient.get("frames")
    now = await frames_so_far(environment, environment.domains.get(_uuid(context)))
    lost = None if before is None or now is None else max(0, now - before)
    await context.note(moved_at=environment.clock.now(), lost_frames=lost)


async def _over(context: EnvContext) -> Standing:
    environment, link, uuid = context.environment, _link(context), _uuid(context)
    # Not before: a hypervisor that fails to send the rest may have its guest go on by itself.
    finishing = context.transient.pop("finishing", None)
    context.transient["travelled"] = await (finishing or live_of(environment).finish(uuid))
    standing = await link.leave(last_piece(environment, uuid, context.transient.get("console", 0)))
    while standing.phase and (
        standing.outcome == Outcome.OPEN
        or (standing.outcome == Outcome.OWNED and standing.resumed_at is None and standing.phase != "done")
    ):
        standing = await link.standing(standing.phase, 5.0)
    return standing


async def know(context: EnvContext) -> Standing:
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
    link = context.transient.get("link")
    stood_at, offset = context.transient.get("stood_at"), link.offset_s if link is not None else None
    blackout = None
    if stood_at is not None and standing.resumed_at is not None and offset is not None:
        blackout = max(0.0, standing.resumed_at - offset - stood_at)
    await context.note(outcome=standing.outcome, blackout_s=blackout)


async def _deliver(context: EnvContext) -> None:
    """After post-copy: the pages that the guest has not fetched yet."""
    travelled = context.transient.get("travelled")
    if travelled is not None and travelled.phase is Phase.POSTCOPY:
        done = live_of(context.environment).delivered(_uuid(context), lambda now: _tell(context, now))
        context.transient["travelled"] = await done


async def _conclude(context: EnvContext) -> None:
    """Something failed after leave was given. Whoever has the guest, it is brought to its end."""
    if not context.job.notes.get("leave"):
        return
    if context.job.notes.get("outcome") is None:
        await note_outcome(context, await know(context))
    if context.job.notes["outcome"] == Outcome.OWNED:
        await _end(context)
        await forget(context)


async def _end(context: EnvContext) -> None:
    """The run here, which stands still and has let go of its disks. First it is heard how the guest does there."""
    link = context.transient.get("link")
    if link is not None and context.job.notes.get("health") is None:
        try:
            standing = await within(context.environment.clock, HEALTH_S, lived(link), "how the guest does")
            await context.note(health=standing.health, clock_step_s=standing.clock_step_s)
        except WirtError as error:
            log.warning("the other host did not say how the guest does", error=str(error))
    if context.environment.domains.get(_uuid(context)) is not None:
        await end_run(context)


async def lived(link: Link) -> Standing:
    standing = await link.standing()
    while standing.phase and standing.health is None and standing.phase != "done":
        standing = await link.standing(standing.phase, 5.0)
    return standing


async def forget(context: EnvContext) -> None:
    """The record, and what was copied: once the guest has been seen to live on the copy."""
    environment, uuid = context.environment, _uuid(context)
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


async def _receipt(context: EnvContext) -> None:
    """Written here and sent there. A guest that did not survive is no success, whoever has it."""
    await write_up(context)
    link = context.transient.pop("link", None)
    if link is not None:
        await link.close()
    health = context.job.notes.get("health")
    if health not in (None, "runs", "paused"):
        raise IllegalState(
            f"domain {context.job.subject} reached {context.job.arguments['host']} and did not survive: {health}",
            hint="wirt list and wirt console there; its disks are whole",
        )


def _offer(context: EnvContext) -> Offer:
    offer = context.transient["offer"]
    assert isinstance(offer, Offer)
    return offer


def _once(do: StepFunction[Any]) -> StepFunction[Any]:
    """A step that another daemon can't take up, and that a job which only asks how a move has ended leaves out."""

    async def first_time(context: EnvContext) -> None:
        if context.job.arguments.get("conclude"):
            return
        if context.repeated:
            raise IllegalState(INTERRUPTED)
        await do(context)

    return first_time


MIGRATE = Operation(
    JobKind.MIGRATE,
    (
        Step("agree", _once(_agree), disagree, interruptible=True),
        Step("disks", _once(_disks), _go_on_here, interruptible=True),
        Step("memory", _once(_memory), _go_on_here, interruptible=True),
        Step("hand-over", _hand_over, _conclude, final=True, binding=True),
        Step("end", _end, nothing_to_undo, final=True, binding=True),
        Step("forget", forget, nothing_to_undo, final=True),
        Step("receipt", _receipt, nothing_to_undo, final=True, binding=True),
    ),
    recovery=Recovery.FINISH,
)
