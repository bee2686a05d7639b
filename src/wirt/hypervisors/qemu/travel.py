"""What QEMU tells of a migration, and what has to be set before one (QEMU, qapi/migration.json)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wirt.hypervisors.qemu import answers
from wirt.hypervisors.qemu.run import Run
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.errors import HypervisorError
from wirt.model.text import plain
from wirt.ports.migration import Course, Phase, Travelled

UNBOUNDED = 1 << 40
"""Bytes a second: QEMU holds itself back by itself, for a network's sake."""
PHASES = {
    "none": None,
    "setup": Phase.SETUP,
    "active": Phase.COPYING,
    "pre-switchover": Phase.STANDING,
    "device": Phase.STANDING,
    "postcopy-device": Phase.STANDING,
    "postcopy-active": Phase.POSTCOPY,
    "postcopy-paused": Phase.FAILED,
    "postcopy-recover": Phase.POSTCOPY,
    "wait-unplug": Phase.SETUP,
    "completed": Phase.COMPLETED,
    "failed": Phase.FAILED,
    "cancelling": Phase.CANCELLED,
    "cancelled": Phase.CANCELLED,
}
ENDED = (Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED)


async def status(run: Run) -> str:
    """QEMU's own word."""
    try:
        return answers.migration(await run.monitor.execute("query-migrate"))[0]
    except Malformed as error:
        raise HypervisorError(f"{run.name}: QEMU tells of its migration with {error}") from error


async def look(run: Run) -> Travelled | None:
    """``None`` if there was no migration in this run."""
    answer = await run.monitor.execute("query-migrate")
    try:
        return travelled(answer)
    except Malformed as error:
        raise HypervisorError(f"{run.name}: QEMU tells of its migration with {error}") from error


def travelled(answer: Mapping[str, Any]) -> Travelled | None:
    word, _, error = answers.migration(answer)
    phase = PHASES.get(word)
    if word not in PHASES:
        raise Malformed("a state that there is none of")
    if phase is None:
        return None
    ram = answers.migrated_memory(answer)
    return Travelled(
        phase=phase,
        total_bytes=ram["total"],
        sent_bytes=ram["transferred"],
        remaining_bytes=ram["remaining"],
        rounds=ram["dirty-sync-count"],
        dirty_bytes_per_s=ram["dirty-pages-rate"] * ram["page-size"],
        bytes_per_s=ram["bytes-per-s"],
        throttle_percent=answers.optional(answer, "cpu-throttle-percentage"),
        total_ms=answers.optional(answer, "total-time"),
        setup_ms=answers.optional(answer, "setup-time"),
        # 0 at the instant of the end: it is not known yet (measured).
        downtime_ms=(answers.optional(answer, "downtime") or None) if phase in ENDED else None,
        error=plain(error),
    )


async def set_course(run: Run, course: Course, *, sends: bool) -> None:
    """What both sides need to be told alike, and what each for itself.

    Without a return path a source that says ``completed`` has handed all to the network, and one that says
    ``failed`` has not: with one, it may fail when the other side has everything. Post-copy needs it."""
    wanted = {
        "events": True,
        "late-block-activate": True,
        "pause-before-switchover": sends,
        "xbzrle": course.xbzrle,
        "auto-converge": course.auto_converge and sends,
        "postcopy-ram": course.postcopy,
        "return-path": course.postcopy,
    }
    await _capabilities(run, wanted)
    if sends:
        await run.monitor.execute("migrate-set-parameters", {"max-bandwidth": course.bytes_per_s or UNBOUNDED})


async def allow(run: Run, downtime_ms: int) -> None:
    """QEMU stops the guest once it believes that the rest takes no longer."""
    await run.monitor.execute("migrate-set-parameters", {"downtime-limit": downtime_ms})


async def protect(run: Run, credentials: str, name: str) -> None:
    """``credentials`` is the object's id; empty takes the protection away."""
    await run.monitor.execute("migrate-set-parameters", {"tls-creds": credentials, "tls-hostname": name})


async def forget_course(run: Run) -> None:
    """As it was at launch, so that what else is called a migration (saved memory) goes as it always does."""
    names = (
        "pause-before-switchover",
        "late-block-activate",
        "xbzrle",
        "auto-converge",
        "postcopy-ram",
        "return-path",
    )
    await _capabilities(run, dict.fromkeys(names, False))
    await protect(run, "", "")


async def _capabilities(run: Run, wanted: Mapping[str, bool]) -> None:
    listed = [{"capability": name, "state": state} for name, state in wanted.items()]
    await run.monitor.execute("migrate-set-capabilities", {"capabilities": listed})
