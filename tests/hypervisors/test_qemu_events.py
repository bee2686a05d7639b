"""Events as QEMU tells them, and whatever else may stand in their log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wirt.hypervisors.qemu.events import (
    LOG_READ_BYTES,
    RESTART_BYTES,
    after,
    bounded,
    from_log,
    is_guest_reset,
    of_event,
    of_status,
)
from wirt.model.lifecycle import EndReason, State
from wirt.ports.hypervisor import Observed

GREETING: dict[str, Any] = {"QMP": {"version": {}, "capabilities": []}}


def event(name: str, **data: object) -> dict[str, Any]:
    return {"timestamp": {"seconds": 1, "microseconds": 2}, "event": name, "data": data}


STOP, RESUME = event("STOP"), event("RESUME")
POWEROFF = event("SHUTDOWN", guest=True, reason="guest-shutdown")
REBOOT = event("SHUTDOWN", guest=True, reason="guest-reset")
PANIC = event("GUEST_PANICKED", action="pause")
WATCHDOG = event("WATCHDOG", action="pause")
OUR_RESET = event("SHUTDOWN", guest=False, reason="host-qmp-system-reset")

STORIES: dict[str, tuple[list[dict[str, Any]], Observed | None]] = {
    "nothing": ([], None),
    "only a greeting": ([GREETING], None),
    "runs": ([GREETING, RESUME], Observed(State.RUNNING)),
    "paused by us": ([RESUME, STOP], Observed(State.PAUSED)),
    "powered off": ([RESUME, POWEROFF, STOP], Observed(State.SHUTDOWN, EndReason.POWEROFF)),
    "rebooted": ([RESUME, REBOOT, STOP], Observed(State.SHUTDOWN, EndReason.REBOOT)),
    "panicked": ([RESUME, STOP, PANIC], Observed(State.CRASHED, EndReason.CRASH)),
    "panicked, told first": ([RESUME, PANIC, STOP], Observed(State.CRASHED, EndReason.CRASH)),
    "bitten by its watchdog": ([RESUME, WATCHDOG, STOP], Observed(State.CRASHED, EndReason.WATCHDOG)),
    "reset by us after its end": ([RESUME, POWEROFF, STOP, RESUME], Observed(State.RUNNING)),
    "our reset is no end": ([RESUME, OUR_RESET], Observed(State.RUNNING)),
    "unknown events": ([RESUME, event("RTC_CHANGE", offset=1), event("NEW_IN_QEMU_12")], Observed(State.RUNNING)),
}


@pytest.mark.parametrize("story", STORIES)
def test_a_log_tells_the_newest_state(story: str, tmp_path: Path) -> None:
    events, told = STORIES[story]
    log = tmp_path / "events.log"
    log.write_text("".join(json.dumps(line) + "\r\n" for line in events))
    assert from_log(log) == told


def test_a_log_that_is_not_there_tells_nothing(tmp_path: Path) -> None:
    assert from_log(tmp_path / "nothing") is None
    assert from_log(tmp_path) is None


def test_a_log_cut_short_tells_what_came_before(tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    log.write_text(json.dumps(RESUME) + "\r\n" + json.dumps(POWEROFF)[:-5])
    assert from_log(log) == Observed(State.RUNNING)


def test_only_the_newest_part_of_a_huge_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    with log.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(0, 2)
        file.write(b"\n" + json.dumps(POWEROFF).encode() + b"\n")
    assert from_log(log) == Observed(State.SHUTDOWN, EndReason.POWEROFF)


def test_deeply_nested_lines_are_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    log.write_bytes(b"[" * (LOG_READ_BYTES // 2) + b"\n" + json.dumps(POWEROFF).encode() + b"\n")
    assert from_log(log) == Observed(State.SHUTDOWN, EndReason.POWEROFF)


def test_a_log_that_is_kept_small_tells_what_the_whole_would(tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    log.touch()
    small = bounded(log)
    told: Observed | None = None
    for number in range(3000):
        line = POWEROFF if number == 2990 else STOP if number == 2991 else event("RTC_CHANGE", offset=number)
        line = RESUME if number == 2000 else line
        with log.open("ab") as file:
            file.write(json.dumps(line).encode() + b"\r\n")
        small.trim()
        told = Observed(State.SHUTDOWN, EndReason.POWEROFF) if number >= 2990 else told
        assert log.stat().st_size < RESTART_BYTES + 200
        if number >= 2990 or 2000 <= number < 2300:
            assert from_log(log) == (told or Observed(State.RUNNING))


def test_a_flood_of_noise_is_passed_over_unread(tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    noise = json.dumps(event("GUEST_CRASHLOADED", info={})).encode() + b"\r\n"
    log.write_bytes(json.dumps(PANIC).encode() + b"\n" + noise * (LOG_READ_BYTES // len(noise) - 5))
    assert from_log(log) == Observed(State.CRASHED, EndReason.CRASH)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(["SHUTDOWN", "GUEST_PANICKED", "WATCHDOG", "STOP", "RESUME", "RESET"]) | json_values
reasons = st.sampled_from(["guest-reset", "guest-shutdown", "x"]) | json_values
events = st.fixed_dictionaries(
    {}, optional={"event": names, "data": st.fixed_dictionaries({"reason": reasons}) | json_values}
)


@given(events | st.dictionaries(st.text(), json_values))
def test_no_event_is_too_strange(strange: dict[str, Any]) -> None:
    told = of_event(strange)
    assert told is None or told.state in State
    assert is_guest_reset(strange) in (True, False)


@given(st.lists(st.binary(max_size=200) | events.map(lambda value: json.dumps(value).encode()), max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_log_is_too_strange(tmp_path: Path, lines: list[bytes]) -> None:
    log = tmp_path / "events.log"
    log.write_bytes(b"\n".join(lines))
    told = from_log(log)
    assert told is None or told.state in State


@given(st.text())
def test_an_unknown_status_is_a_guest_that_does_not_run(word: str) -> None:
    assert of_status(word) is State.PAUSED or word in ("running", "shutdown", "watchdog", "suspended")


def test_a_stop_after_an_end_changes_nothing() -> None:
    ended = Observed(State.SHUTDOWN, EndReason.POWEROFF)
    assert after(ended, Observed(State.PAUSED)) == ended
    assert after(ended, Observed(State.RUNNING)) == Observed(State.RUNNING)
