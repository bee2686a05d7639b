"""How a guest gets from one run to the other: copied while it runs, then the word."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import structlog

from wirt.model.errors import DeadlinePassed, IllegalState, WirtError
from wirt.model.lifecycle import State
from wirt.model.units import MIB
from wirt.operations.power import REBOOT_NOTE
from wirt.operations.receive import live_of, settle_there
from wirt.operations.refresh_busy import FIRST, first_domid
from wirt.operations.refresh_run import INTERRUPTED, beside_of, check_first, has_word, old_run, uuid_of
from wirt.operations.running import EnvContext
from wirt.plan.refresh import kept_notes
from wirt.ports.clock import within
from wirt.ports.migration import Channel, Course, Phase, Travelled

log = structlog.get_logger()

COURSE = Course(max_downtime_ms=30, auto_converge=True)
"""Memory goes through a socket of the host's own: a rest of 30 ms is what such a socket carries in that time."""
COPY_S = 600.0
FINISH_S = 60.0


async def copy(context: EnvContext) -> None:
    """Until the guest stands still with a last rest to go."""
    check_first(context)
    environment, domain = context.environment, old_run(context)
    live = live_of(environment)
    near, far = socket.socketpair()
    receive = live.receive(beside_of(context), Channel(far, None), COURSE)
    context.transient["receiving"] = asyncio.create_task(receive)

    def report(travelled: Travelled) -> None:
        if travelled.phase is Phase.STANDING and "stood_at" not in context.transient:
            context.transient["stood_at"] = environment.clock.monotonic()
            # At once: what still comes to the old taps is lost. A guest that stays says itself where it is.
            context.transient["leading"] = asyncio.create_task(_lead(context))
        done = 1 - travelled.remaining_bytes / max(travelled.total_bytes, 1)
        context.progress(f"memory: {travelled.sent_bytes // MIB} MiB copied", 0.3 + 0.5 * min(1.0, max(0.0, done)))

    try:
        send = live.send(domain.uuid, Channel(near, None), COURSE, report)
        await within(environment.clock, COPY_S, send, "the rest of a guest that can be copied at once")
    except DeadlinePassed as error:
        raise IllegalState(
            f"domain {domain.name} changes its memory faster than it can be copied; it goes on as before",
            hint="try again when it has less to do",
        ) from error
    context.transient.setdefault("stood_at", environment.clock.monotonic())


async def go_on_before(context: EnvContext) -> None:
    """The guest goes on in the old run, unless the new one has the word."""
    environment = context.environment
    under_way = [context.transient.pop(name, None) for name in ("receiving", "leading")]
    for task in filter(None, under_way):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if has_word(environment, context):
        return
    domain = environment.domains.get(uuid_of(context))
    run = domain.incarnation if domain is not None else None
    if domain is None or run is None or run.domid != context.job.arguments["domid"]:
        return
    if domain.state is not State.OFF and run.end is None:
        await live_of(environment).back(domain.uuid)


async def hand_over(context: EnvContext) -> None:
    """The rest, the word, and on it goes. Of a daemon that died in here the record says which it was."""
    environment, uuid = context.environment, uuid_of(context)
    if not context.repeated:
        await within(environment.clock, FINISH_S, _rest(context), "the rest of the guest")
        await _give_word(context)
        await environment.hypervisor.take_place(uuid, beside_of(context))
    elif not has_word(environment, context):
        raise IllegalState(INTERRUPTED)
    domain = environment.domains.get(uuid)
    if domain is None or domain.domid != context.job.notes["domid"] or domain.state is State.OFF:
        return  # it has ended since, and that is followed up as any end
    if context.job.notes["was"] == State.RUNNING:
        await environment.hypervisor.resume(uuid)
        if "stood_at" in context.transient:
            context.transient["gap_s"] = environment.clock.monotonic() - context.transient["stood_at"]
        environment.tell(environment.domains.observe(uuid, State.RUNNING))
        await context.note(gap_s=context.transient.get("gap_s"))
    await settle_there(environment, uuid)


async def _rest(context: EnvContext) -> None:
    await live_of(context.environment).finish(uuid_of(context))
    await context.transient["receiving"]


async def _lead(context: EnvContext) -> None:
    """Frames for the guest wait at its new taps from here on."""
    try:
        await context.environment.network.lead_to(context.transient["cards"])
    except WirtError as error:
        # The bridge learns it with the guest's next frame.
        log.warning("a bridge was not told of a new tap", domain=context.job.subject, error=str(error))


async def _give_word(context: EnvContext) -> None:
    """Never cut in two: the record is what everybody goes by."""
    environment = context.environment
    domain, started = old_run(context), context.transient["started"]
    assert domain.incarnation is not None
    old = domain.incarnation
    notes = {**kept_notes(old.notes, (REBOOT_NOTE,)), **started.notes, FIRST: first_domid(old)}
    scripts = [value for key, value in old.notes.items() if key.startswith("script.")]
    if scripts:
        await context.note(**{"old-scripts": scripts})
    new = replace(started, state=State.PAUSED, notes=notes)
    await environment.domains.replace_run(old, new)
