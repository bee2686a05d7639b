"""What QEMU's events mean for a run (QEMU QMP reference, "Run state" and "SHUTDOWN").

The same table reads events as they come and, for a daemon that was away, from the log that QEMU kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wirt.model.lifecycle import EndReason, State
from wirt.ports.hypervisor import Observed

LOG_READ_BYTES = 1024 * 1024
"""Events are few and short; whatever a hostile guest provokes, only the newest part of the log is read."""

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


def _read_log(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with path.open("rb") as file:
            start = max(0, path.stat().st_size - LOG_READ_BYTES)
            file.seek(start)
            lines = file.read(LOG_READ_BYTES).split(b"\n")
    except OSError:
        return
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the line that the read began or the crash ended in, or one that is none of QEMU's
        if isinstance(event, dict) and "event" in event:
            yield event
