"""The sending side of a move, step by step.

Until ``hand-over`` the guest is this host's, and whatever goes wrong it goes on here. In ``hand-over`` it stands
still and the other host gets leave to go on with it; what follows from that is in
:mod:`wirt.operations.migrate_end`. Another daemon that takes the job up there asks as well; one that finds an
earlier step undone gives up.

Notes: those of ``migrate_end``; ``began_at``, ``moved_at`` and the like for the receipt.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict

import structlog

from wirt.model.domain import Domain
from wirt.model.errors import IllegalState, WirtError
from wirt.model.job import Recovery
from wirt.model.lifecycle import State
from wirt.model.migration import Outcome
from wirt.model.units import MIB
from wirt.operations.backup_busy import check_no_backup
from wirt.operations.console_past import Telling, last_piece
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.migrate import MoveWish, lay_proofs, make_offer, take_proofs
from wirt.operations.migrate_end import (
    concluded,
    disagree,
    forget,
    give_leave,
    hear_how_it_does,
    link_of,
    may_be_gone,
    once,
    uuid_of,
    wish_of,
)
from wirt.operations.migrate_layers import send_layers
from wirt.operations.migrate_link import Link, unless_lost
from wirt.operations.migrate_receipt import frames_so_far, has_taps, write_up
from wirt.operations.moving import Move, set_out
from wirt.operations.receive import course_of, live_of, peers_of
from wirt.operations.running import EnvContext, end_run
from wirt.operations.turns import take_turn
from wirt.ports.migration import Phase, Travelled
from wirt.wire.v1_incoming import Offer, Standing

log = structlog.get_logger()

FINISH_S = 120.0
"""For the rest to go over, and for the other side to say that it has it."""
ANSWER_S = 5.0
HEALTH_S = 20.0
ROUNDS_BEFORE_GOING_OVER = 3


def _here(context: EnvContext) -> Domain:
    """The domain, as long as it runs here."""
    domain = context.environment.domains.get(uuid_of(context))
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


async def _disks(context: EnvContext) -> None:
    """First the kernel and what disks stand on, as far as the other side lacks it. Then disks, copied while the
    guest writes them; from then on each write goes to both."""
    link, offer, wish = link_of(context), _offer(context), wish_of(context)
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
            uuid_of(context),
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
    environment, link, offer = context.environment, link_of(context), _offer(context)
    uuid, live, wish = _here(context).uuid, live_of(context.environment), wish_of(context)
    telling = context.transient["console"] = Telling()
    going_over: list[asyncio.Task[None]] = []

    def report(travelled: Travelled) -> None:
        if travelled.phase is Phase.STANDING and "stood_at" not in context.transient:
            context.transient["stood_at"] = environment.clock.now()
            if has_taps(environment.domains.get(uuid)):
                # At once: what still comes to its cards here is lost. A guest that stays says itself where it is.
                context.transient["leading"] = asyncio.create_task(_lead_there(link))
        slowed = max(context.transient.get("throttle_percent", 0), travelled.throttle_percent)
        context.transient["throttle_percent"] = slowed  # it is 0 again at the end
        _tell(context, travelled)
        if not going_over and _should_go_over(wish, travelled):
            context.transient["postcopy"] = True
            going_over.append(asyncio.create_task(live.go_over(uuid)))

    try:
        telling.begin(environment, uuid, link)
        channel = await link.memory()
        sent = live.send(uuid, channel, course_of(offer), report)
        context.transient["travelled"] = await unless_lost(link, sent)
        context.transient.setdefault("stood_at", environment.clock.now())
        _here(context)
    except WirtError as error:
        raise await link.why(error) from error
    finally:
        await asyncio.gather(*going_over, return_exceptions=True)
        await telling.end()
    if not going_over:
        # The rest goes over while the journal is written: without leave the other side does nothing with it.
        context.transient["finishing"] = asyncio.create_task(live.finish(uuid))
    context.transient["frames"] = await frames_so_far(environment, environment.domains.get(uuid))


async def _lead_there(link: Link) -> None:
    """What is sent to the guest from here on waits for it where it is about to go on."""
    try:
        await link.stands_still()
    except WirtError as error:
        log.info("frames for a guest that stands still are lost", error=str(error))  # an older wirt, most often


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
    for task in (context.transient.pop(name, None) for name in ("finishing", "leading")):
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    if may_be_gone(context):
        return
    environment, uuid = context.environment, uuid_of(context)
    domain = environment.domains.get(uuid)
    if domain is None or domain.domid != context.job.arguments["domid"] or domain.state is State.OFF:
        return
    if domain.incarnation is not None and domain.incarnation.end is None:
        await live_of(environment).back(uuid)


async def _hand_over(context: EnvContext) -> None:
    """Send the rest, give leave, and learn who has it."""
    await give_leave(context, _over, FINISH_S)
    await _deliver(context)
    await _note_arrival(context)


async def _note_arrival(context: EnvContext) -> None:
    environment, before = context.environment, context.transient.get("frames")
    now = await frames_so_far(environment, environment.domains.get(uuid_of(context)))
    lost = None if before is None or now is None else max(0, now - before)
    await context.note(moved_at=environment.clock.now(), lost_frames=lost)


async def _over(context: EnvContext) -> Standing:
    environment, link, uuid = context.environment, link_of(context), uuid_of(context)
    # Not before: a hypervisor that fails to send the rest may have its guest go on by itself.
    finishing = context.transient.pop("finishing", None)
    context.transient["travelled"] = await (finishing or live_of(environment).finish(uuid))
    standing = await link.leave(last_piece(environment, uuid, context.transient["console"].sent), ANSWER_S)
    while standing.phase and (
        standing.outcome == Outcome.OPEN
        or (standing.outcome == Outcome.OWNED and standing.resumed_at is None and standing.phase != "done")
    ):
        standing = await link.standing(standing.phase, ANSWER_S)
    return standing


async def _deliver(context: EnvContext) -> None:
    """After post-copy: the pages that the guest has not fetched yet."""
    travelled = context.transient.get("travelled")
    if travelled is not None and travelled.phase is Phase.POSTCOPY:
        done = live_of(context.environment).delivered(uuid_of(context), lambda now: _tell(context, now))
        context.transient["travelled"] = await done


async def _end(context: EnvContext) -> None:
    """The run here, which stands still and has let go of its disks. First it is heard how the guest does there."""
    await hear_how_it_does(context, HEALTH_S)
    await _take_account(context)
    if context.environment.domains.get(uuid_of(context)) is not None:
        await end_run(context)


async def _take_account(context: EnvContext) -> None:
    """The hypervisor's own of how long the guest stood still, if it had none yet while that lasted."""
    travelled = context.transient.get("travelled")
    if travelled is not None and travelled.phase is Phase.COMPLETED and travelled.downtime_ms is None:
        with contextlib.suppress(WirtError):
            done = live_of(context.environment).delivered(uuid_of(context), lambda now: None)
            context.transient["travelled"] = await done


async def _end_and_forget(context: EnvContext) -> None:
    await _end(context)
    await forget(context)


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


MIGRATE = Operation(
    JobKind.MIGRATE,
    (
        Step("agree", once(_agree), disagree, interruptible=True),
        Step("disks", once(_disks), _go_on_here, interruptible=True),
        Step("memory", once(_memory), _go_on_here, interruptible=True),
        Step("hand-over", _hand_over, concluded(_end_and_forget), final=True, binding=True),
        Step("end", _end, nothing_to_undo, final=True, binding=True),
        Step("forget", forget, nothing_to_undo, final=True),
        Step("receipt", _receipt, nothing_to_undo, final=True, binding=True),
    ),
    recovery=Recovery.FINISH,
)
