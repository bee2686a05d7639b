"""The sending side of a move of a domain that is off, or is shut down for it.

Until ``hand-over`` the domain is this host's: whatever goes wrong, it is here as it was, and runs again if it ran.
The word is the other host's, as for one that runs (:mod:`wirt.operations.handovers`). Meanwhile nobody can start
it here: this job is in its lane.

Arguments: those of :mod:`wirt.operations.migrate_steps`; ``domid`` is ``None`` of a domain that is off. Notes:
``shutting``, once it was asked to shut down; and those of :mod:`wirt.operations.migrate_end`.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict
from uuid import UUID

import structlog

from wirt.model.domain import Domain
from wirt.model.errors import DeadlinePassed, IllegalState, StoreClosed, WirtError
from wirt.model.job import Recovery
from wirt.model.lifecycle import State
from wirt.model.migration import Outcome
from wirt.operations.backup_busy import check_no_backup
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.migrate import lay_proofs, make_offer, take_proofs
from wirt.operations.migrate_end import (
    concluded,
    disagree,
    forget,
    give_leave,
    hear_how_it_does,
    link_of,
    may_be_gone,
    note_outcome,
    once,
    uuid_of,
    wish_of,
)
from wirt.operations.migrate_layers import disks_only, send_layers
from wirt.operations.migrate_link import Link, unless_lost
from wirt.operations.migrate_receipt import write_up
from wirt.operations.moving import Move, set_out, stay
from wirt.operations.offline_disks import hold, let_go, send_disks
from wirt.operations.receive import peers_of
from wirt.operations.running import EnvContext, end_run
from wirt.operations.turns import take_turn
from wirt.operations.volumes_domain import release_volumes
from wirt.wire.v1_incoming import Standing

log = structlog.get_logger()

LOOK_S = 0.5
FINISH_S = 60.0
FORGET_AGAIN_S = 5.0
START_S = 120.0
"""For the other host to start it and see that it lives."""


def _here(context: EnvContext) -> Domain:
    """The domain, as long as it is as it was when the move was planned, or as this job has made it."""
    domain = context.environment.domains.get(uuid_of(context))
    if domain is None:
        raise IllegalState(f"domain {context.job.subject} is gone meanwhile")
    if domain.domid not in (None, context.job.arguments["domid"]):
        raise IllegalState(f"domain {domain.name} was started anew meanwhile")
    return domain


def _ran(context: EnvContext) -> bool:
    return context.job.arguments["domid"] is not None


async def _agree(context: EnvContext) -> None:
    """The other side makes ready, and waits, once it has what the domain starts from and its disks stand on. The
    guest runs on meanwhile."""
    environment, wish = context.environment, wish_of(context)
    handover = context.job.arguments["handover"]
    peer = await peers_of(environment).reach(wish.target)
    try:
        await take_turn(context, peer)
        domain = _here(context)
        if _ran(context) != (domain.incarnation is not None):
            raise IllegalState(f"domain {domain.name} has ended meanwhile")
        check_no_backup(environment, domain)
    except BaseException:
        await peer.close()
        raise
    link = context.transient["link"] = Link(environment, peer, handover)
    offer = await make_offer(environment, domain, wish, handover)
    if not context.job.arguments.get("brings"):
        offer = disks_only(offer)
    offer = await lay_proofs(environment, offer)
    context.progress(f"{peer.name} makes ready", 0.05)
    await context.note(began_at=environment.clock.now())
    if domain.incarnation is not None:
        await set_out(environment, domain, Move(peer.name, handover, wish.target))
    context.transient["offer"] = offer
    try:
        await link.prepare(asdict(offer))
    finally:
        await take_proofs(environment, domain, handover)
    if context.job.arguments.get("brings"):
        await send_layers(context, link, offer, wish)


async def _shut_down(context: EnvContext) -> None:
    """Through its agent or its power button. What its configuration says of its end does not hold now."""
    environment, domain, link = context.environment, _here(context), link_of(context)
    if domain.incarnation is None:
        return
    await context.note(shutting=True)
    if not _over(domain):
        await _ask_to_end(environment, domain)
        context.progress(f"{domain.name} shuts down", 0.1)
        await _ended(context, link)
    await _settle(context)
    context.transient["stood_at"] = environment.clock.now()


async def _ask_to_end(environment: Environment, domain: Domain) -> None:
    if domain.state is not State.RUNNING:
        raise IllegalState(f"domain {domain.name} is {domain.state}")
    try:
        if await environment.hypervisor.agents.available(domain.uuid):
            await environment.hypervisor.agents.shutdown(domain.uuid)
            return
    except WirtError as error:
        log.info("an agent does not shut its guest down", domain=domain.name, error=str(error))
    await environment.hypervisor.power_button(domain.uuid)


async def _ended(context: EnvContext, link: Link) -> None:
    environment, timeout_s = context.environment, wish_of(context).timeout_s
    end = environment.clock.monotonic() + timeout_s
    while not _over(_here(context)):
        if link.lost.done():
            raise link.lost.result()
        if environment.clock.monotonic() >= end:
            raise DeadlinePassed(
                f"domain {context.job.subject} did not shut down within {timeout_s:g} s",
                hint="a longer --timeout; or move it while it runs, without --offline",
            )
        await environment.clock.sleep(LOOK_S)


def _over(domain: Domain) -> bool:
    run = domain.incarnation
    return run is None or run.end is not None or domain.state is State.OFF


async def _settle(context: EnvContext) -> None:
    """The run is over, and recorded so; the record stays, also of a domain that is forgotten when it ends."""
    environment, uuid = context.environment, uuid_of(context)
    domain = environment.domains.get(uuid)
    if domain is not None and domain.incarnation is not None:
        await end_run(context)
        await release_volumes(environment, uuid)
        await environment.domains.end_run(uuid)
        environment.tell(_here(context), reason="it moves")


async def _start_again(context: EnvContext) -> None:
    """If it was shut down for a move that did not come about."""
    environment, arguments, notes = context.environment, context.job.arguments, context.job.notes
    if not notes.get("shutting") or may_be_gone(context):
        return
    uuid = UUID(arguments["uuid"])
    domain = environment.domains.get(uuid)
    if domain is None or domain.domid not in (None, arguments["domid"]):
        return
    if not _over(domain):
        await stay(environment, uuid, arguments["domid"])
        return
    await _settle(context)
    await environment.jobs.submit(JobKind.START, domain.name, {"uuid": str(uuid), "paused": False})


async def _disks(context: EnvContext) -> None:
    """What comes along. Nobody has it open now, and nobody gets it."""
    link, offer = link_of(context), context.transient["offer"]
    if _here(context).incarnation is not None:
        raise IllegalState(f"domain {context.job.subject} runs")
    await hold(context, offer)
    await unless_lost(link, send_disks(context, link, offer, wish_of(context).bytes_per_s))


async def _hand_over(context: EnvContext) -> None:
    """Give leave, and learn who has it."""
    if not context.repeated and _here(context).incarnation is not None:
        raise IllegalState(f"domain {context.job.subject} runs")
    await give_leave(context, _given, FINISH_S)


async def _given(context: EnvContext) -> Standing:
    link = link_of(context)
    standing = await link.leave()
    while standing.phase and standing.outcome == Outcome.OPEN:
        standing = await link.standing(standing.phase, 5.0)
    return standing


async def _forget(context: EnvContext) -> None:
    """However long the store refuses: as long as the record is there, this job keeps others from starting it."""
    while True:
        try:
            await let_go(context)
            return await forget(context)
        except StoreClosed:
            raise
        except WirtError as error:
            context.progress(f"what has moved can't be forgotten: {error.message}", context.job.progress)
            log.error("a domain that has moved is recorded still", domain=context.job.subject, error=str(error))
        await context.environment.clock.sleep(FORGET_AGAIN_S)


async def _see(context: EnvContext) -> None:
    """Whether it came up there. What was copied is removed here only then."""
    standing = await hear_how_it_does(context, START_S)
    if standing is not None:
        await note_outcome(context, standing)


async def _receipt(context: EnvContext) -> None:
    await write_up(context)
    link = context.transient.pop("link", None)
    if link is not None:
        with contextlib.suppress(asyncio.CancelledError):
            await link.close()
    health = context.job.notes.get("health")
    if health not in (None, "runs", "off") or (health == "off" and _ran(context)):
        host = context.job.arguments["host"]
        raise IllegalState(
            f"domain {context.job.subject} is {host}'s now, and does not run there: it is {health}",
            hint=f"wirt jobs and wirt start {context.job.subject} there say more; its disks are whole",
        )


MIGRATE_OFFLINE = Operation(
    JobKind.MIGRATE_OFFLINE,
    (
        Step("agree", once(_agree), disagree, interruptible=True),
        Step("shut-down", once(_shut_down), _start_again, interruptible=True),
        Step("disks", once(_disks), let_go, interruptible=True),
        Step("hand-over", _hand_over, concluded(_forget), final=True, binding=True),
        Step("see", _see, concluded(_forget), binding=True),
        Step("forget", _forget, concluded(_forget), final=True, binding=True),
        Step("receipt", _receipt, nothing_to_undo, final=True, binding=True),
    ),
    recovery=Recovery.FINISH,
)
