"""A guest that is sent to another host, step by step, from what QEMU tells alone.

A file in the run's directory says that it is on its way, and what the guest did before: so another daemon can go
back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from wirt.hypervisors.qemu import answers, credentials, mirrors, travel
from wirt.hypervisors.qemu.run import Run
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.errors import HypervisorError, HypervisorSilent, IllegalState
from wirt.model.lifecycle import State
from wirt.model.units import KIB
from wirt.plan.launch import KEPT_EVERY_PAGE_SINCE
from wirt.ports.migration import Course, Phase, Report, Travelled

FORGOTTEN_BLOCK = 256 * KIB

ANNOUNCED = {"initial": 20, "max": 1000, "rounds": 8, "step": 150}
"""In milliseconds (QMP announce-self): over three seconds, and so beyond what the other side has still to tell."""
LOOK_S = 0.1
"""At least so often it is looked, beside QEMU's own events."""
END_S = 30.0
FIRST_DOWNTIME_MS = 4
"""With which it is tried first. QEMU takes what it is allowed, so a guest that could do with less stands for no
reason (measured: 78 to 250 ms of 300; for what goes in 20 the other side's QEMU works 20 ms before the guest can
go on, for what goes in 4 it works 12)."""


def check_idle(run: Run, now: Travelled | None) -> None:
    if now is not None and now.phase not in travel.ENDED:
        raise IllegalState(f"{run.name} is on its way already")
    if run.observed.end is not None:
        raise IllegalState(f"{run.name} has ended")


async def check_keeps_pages(run: Run) -> None:
    """``IllegalState`` for a guest that runs in a QEMU which would forget some of its pages on the way, and came
    to it from one that would not (:data:`wirt.plan.launch.KEPT_EVERY_PAGE_SINCE`)."""
    monitor = run.monitor
    try:
        old = answers.version(await monitor.execute("query-version")) < KEPT_EVERY_PAGE_SINCE
        emulated = not answers.uses_kvm(await monitor.execute("query-kvm"))
        summary = await monitor.execute("query-memory-size-summary")
        whole, more = answers.memory_bytes(summary) % FORGOTTEN_BLOCK == 0, answers.plugged_bytes(summary) > 0
    except Malformed as error:
        raise HypervisorError(f"{run.name}: QEMU tells of itself with {error}") from error
    # What is plugged in is whole mebibytes, whatever block it is in.
    forgets = whole or more if old else whole and run.memory.hotplug > 0
    if emulated and forgets and run.observed.state is State.RUNNING:
        other = f"wirt mem-set {run.name} with less" if more and not whole else None
        newer = "upgrade QEMU here to 9.0 or newer" if old else None
        raise IllegalState(
            f"{run.name} runs emulated in a QEMU which would lose some of its memory on the way",
            hint=", or ".join(filter(None, (f"wirt pause {run.name} first", newer, other))),
        )


def allowed_ms(rounds: int, most_ms: int) -> int:
    """How long the guest may stand still once memory has been gone through ``rounds`` times: more with each that
    did not do."""
    return min(most_ms, FIRST_DOWNTIME_MS << min(max(0, rounds - 2), 19))


async def standing(run: Run, course: Course, report: Report) -> Travelled:
    """Until the guest stands still with a last rest to go."""
    allowed = allowed_ms(0, course.max_downtime_ms)

    async def relax(now: Travelled) -> None:
        nonlocal allowed
        wanted = allowed_ms(now.rounds, course.max_downtime_ms)
        if now.phase is Phase.COPYING and wanted > allowed:
            allowed = wanted
            await travel.allow(run, allowed)

    return await until(run, Phase.STANDING, report, relax)


def mark(run: Run) -> None:
    """What it does now; what was written before holds."""
    with contextlib.suppress(FileExistsError), run.files.moving.open("x") as file:
        file.write(str(run.observed.state))


async def until(
    run: Run,
    wanted: Phase | tuple[Phase, ...],
    report: Report,
    meanwhile: Callable[[Travelled], Awaitable[None]] | None = None,
) -> Travelled:
    """``HypervisorError`` if it ends otherwise."""
    phases = (wanted,) if isinstance(wanted, Phase) else wanted
    while True:
        run.migration.clear()
        now = await travel.look(run)
        if now is not None:
            report(now)
            if now.phase in phases:
                return now
            if now.phase in travel.ENDED:
                raise HypervisorError(f"{run.name}: QEMU gave up moving it: {now.error or now.phase}")
            if meanwhile is not None:
                await meanwhile(now)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(run.migration.wait(), LOOK_S)


async def with_downtime(run: Run, done: Travelled) -> Travelled:
    """Which may be known a moment later."""
    for _ in range(5):
        if done.downtime_ms is not None:
            break
        await asyncio.sleep(0.01)
        done = await travel.look(run) or done
    return done


async def back(run: Run) -> None:
    """Whatever it is in the middle of, it goes on here. The file is the last to go."""
    if run.process.gone:
        return
    now = await stopped(run)
    if now is Phase.POSTCOPY:
        raise IllegalState(f"{run.name} has gone over: its memory is on both sides, and whole on neither")
    await mirrors.abandon(run)
    if before(run) == State.RUNNING and run.observed.end is None:
        status = await run.monitor.execute("query-status")
        if status.get("status") in ("postmigrate", "finish-migrate", "paused"):
            await run.resume()
        await _announce(run)  # also of one that stood still and went on by itself
    await travel.forget_course(run)
    await credentials.hide(run)
    run.files.moving.unlink(missing_ok=True)


async def _announce(run: Run) -> None:
    """The other host may have told the switches that the guest's addresses are there: it does so as soon as the
    guest stands still, before anybody decides where that goes on."""
    with contextlib.suppress(HypervisorError):
        await run.monitor.execute("announce-self", ANNOUNCED)


async def stopped(run: Run) -> Phase | None:
    """Once nothing is under way any more."""
    deadline = asyncio.get_running_loop().time() + END_S
    while True:
        run.migration.clear()
        word = await travel.status(run)
        phase = travel.PHASES.get(word)
        if phase is None or phase is Phase.POSTCOPY or (phase in travel.ENDED and word != "cancelling"):
            return phase
        if word not in ("cancelling", "device"):
            await run.monitor.execute("migrate_cancel")
        if asyncio.get_running_loop().time() > deadline:
            raise HypervisorSilent(f"{run.name}: QEMU does not stop moving the guest")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(run.migration.wait(), LOOK_S)


def before(run: Run) -> str:
    try:
        return run.files.moving.read_text()
    except OSError:
        return ""


async def adopt(run: Run) -> bool:
    """For a daemon that has just begun: whether this run was about to move, and stands still until it is decided
    where it goes on. One that was only being copied goes on here at once: the other side can't have it.

    Once the rest is on its way (``device``) nothing is cancelled: the other side may get all of it."""
    if not run.files.moving.exists():
        return False
    word = await travel.status(run)
    if word in ("setup", "active", "pre-switchover", "cancelling"):
        await stopped(run)
        return False
    return word in ("device", "postcopy-active", "completed", "failed", "postcopy-paused")
