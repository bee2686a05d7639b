"""What QEMU's events mean for a run (QEMU QMP reference, "Run state" and "SHUTDOWN").

The same table reads events as they come and, for a daemon that was away, from the log that QEMU kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wirt.hypervisors.qemu import logs
from wirt.hypervisors.qemu.untrusted import Malformed, parse
from wirt.model.lifecycle import EndReason, State
from wirt.ports.hypervisor import Observed

LOG_READ_BYTES = 1024 * 1024
"""Events are few and short; whatever a hostile guest provokes, only the newest part of the log is read."""
MOST_EVENT_BYTES = 64 * 1024
KEPT_BYTES = 64 * 1024
RESTART_BYTES = 128 * 1024
ROOM_BYTES = 256 * 1024
"""The event log while a daemon lives: a flood makes it no longer than that. The jail keeps so much room free for
it that nothing else in its directory can silence it."""

_NOISE = (
    "ACPI_DEVICE_OST|BALLOON_CHANGE|BLOCK_IO_ERROR|GUEST_CRASHLOADED|GUEST_PVSHUTDOWN|MEMORY_DEVICE_SIZE_CHANGE|"
    "MEMORY_FAILURE|NIC_RX_FILTER_CHANGED|RTC_CHANGE|VSERPORT_CHANGE"
)
_IS_NOISE = re.compile(rb'"event": ?"(?:%s)"' % _NOISE.encode())
_IS_EVENT = re.compile(rb'"event": ?"')
_EVENT_COST = 10


def cost(line: bytes) -> int | None:
    """How much of its rate a monitor's line takes. What a guest can make QEMU tell a hundred thousand times a
    second, and nobody here asks for, is not even parsed; an event of another kind keeps the whole host busy."""
    if _IS_EVENT.search(line) is None:
        return 1
    return None if _IS_NOISE.search(line) else _EVENT_COST


_SHUTDOWN_REASONS = {
    "guest-shutdown": EndReason.POWEROFF,
    "guest-reset": EndReason.REBOOT,
    "guest-panic": EndReason.CRASH,
    "subsystem-reset": EndReason.SOFT_RESET,
    "host-qmp-quit": EndReason.DESTROYED,
    "host-signal": EndReason.DESTROYED,
}

_STATUS = {
    "running": State.RUNNING,
    "paused": State.PAUSED,
    "prelaunch": State.PAUSED,
    "inmigrate": State.PAUSED,
    "finish-migrate": State.PAUSED,
    "postmigrate": State.PAUSED,
    "restore-vm": State.PAUSED,
    "save-vm": State.PAUSED,
    "suspended": State.RUNNING,
    "debug": State.PAUSED,
    "io-error": State.PAUSED,
    "internal-error": State.CRASHED,
    "guest-panicked": State.CRASHED,
    "shutdown": State.SHUTDOWN,
    "watchdog": State.CRASHED,
}


def of_status(status: str) -> State:
    """A ``query-status`` answer as a state; an unknown word is a guest that does not run."""
    return _STATUS.get(status, State.PAUSED)


def of_event(event: Mapping[str, Any]) -> Observed | None:
    """What ``event`` makes of the run, or ``None`` if it says nothing of its state."""
    name, data = event.get("event"), event.get("data")
    if not isinstance(data, Mapping):
        data = {}
    if name == "SHUTDOWN":
        reason = _SHUTDOWN_REASONS.get(str(data.get("reason")))
        # host-qmp-system-reset and its like are our own doing and end nothing.
        return None if reason is None else Observed(State.SHUTDOWN, reason)
    if name == "GUEST_PANICKED":
        return Observed(State.CRASHED, EndReason.CRASH)
    if name == "WATCHDOG":
        return Observed(State.CRASHED, EndReason.WATCHDOG)
    if name == "RESUME":
        return Observed(State.RUNNING)
    if name == "STOP":
        return Observed(State.PAUSED)
    return None


def is_guest_reset(event: Mapping[str, Any]) -> bool:
    """Whether the guest, or its firmware, reset the machine and goes on running."""
    data = event.get("data")
    return event.get("event") == "RESET" and isinstance(data, Mapping) and data.get("reason") == "guest-reset"


def after(observed: Observed, then: Observed) -> Observed:
    """Two observations in a row as one. ``STOP`` follows every end of a guest, and means nothing new then."""
    if then.state is State.PAUSED and observed.end is not None:
        return observed
    return then


def from_log(path: Path) -> Observed | None:
    """The state that the newest events in ``path`` tell of; ``None`` if they tell of none."""
    observed: Observed | None = None
    for event in _read_log(path):
        then = of_event(event)
        if then is not None:
            observed = then if observed is None else after(observed, then)
    return observed


def bounded(path: Path) -> logs.GrowingLog:
    return logs.GrowingLog(path, KEPT_BYTES, restart_bytes=RESTART_BYTES, room_bytes=ROOM_BYTES)


def _read_log(path: Path) -> Iterator[Mapping[str, Any]]:
    for line in logs.newest(path, LOG_READ_BYTES).split(b"\n"):
        # Also the line that the read began or the crash ended in. Holes are zeros.
        if len(line) > MOST_EVENT_BYTES or cost(line) is None:
            continue
        try:
            event = parse(line)
        except Malformed:
            continue
        if "event" in event:
            yield event
