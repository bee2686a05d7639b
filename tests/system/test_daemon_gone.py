"""Guests outlive the daemon: whatever ends it, the next one finds them, and does what should have followed."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .guests import READY, ask, kept_console, port_of, pvh, silent, ticks, watch
from .host import Host, wait_until

pytestmark = pytest.mark.real


def test_guests_go_on_without_a_daemon_and_what_happened_meanwhile_is_made_good(
    real_host: Host, tiny: TinyImage
) -> None:
    host = real_host
    host.ok(
        "create", host.write("ticker.cfg", pvh(tiny, "ticker", cmdline="tick=100", more='on_crash = "restart"'))
    )
    host.ok("create", host.write("ender.cfg", pvh(tiny, "ender", more='on_poweroff = "preserve"')))
    for name in ("ticker", "ender"):
        with watch(host, name) as looking:
            looking.until(READY)
    before = {name: host.domain(name) for name in ("ticker", "ender")}
    ports = {name: port_of(host, name) for name in before}

    # Asked to end: it does, and says so with exit code 0. The guests don't notice.
    assert host.stop() == 0
    host.start()
    assert same_run(host.domain("ticker"), before["ticker"])

    # Killed: the guests go on, and one ends by itself meanwhile.
    host.kill9()
    quiet_ticks = ticks(console_log(before["ticker"], host))
    let_go(ports["ender"], "wirt poweroff")
    wait_until(lambda: b"SHUTDOWN" in event_log(before["ender"], host), 60, "the power-off")
    wait_until(lambda: len(ticks(console_log(before["ticker"], host))) > len(quiet_ticks) + 10, 60, "ticks")
    host.start()
    assert same_run(host.domain("ticker"), before["ticker"])
    assert host.domain("ender")["flags"] == "---s--"
    assert host.domain("ender")["end_reason"] == "poweroff"
    assert kept_console(host, "ender").count(READY) == 1
    console = kept_console(host, "ticker")
    assert re.match(rb"\[ +0\.000000\] Linux version ", console), console[:200]
    numbers = ticks(console)
    assert numbers == list(range(1, len(numbers) + 1)), "a tick is missing on the console"
    assert len(numbers) > len(quiet_ticks) + 10
    assert ask(ports["ticker"], "still there") == "still there"
    host.ok("destroy", "ender")

    # Killed again, and this time the other one crashes: it is restarted, as its configuration says.
    host.kill9()
    let_go(ports["ticker"], "wirt panic")
    wait_until(lambda: b"GUEST_PANICKED" in event_log(before["ticker"], host), 60, "the panic")
    host.start()
    host.ok("wait", "ticker", "--until", "running", "--timeout", "60")
    wait_until(lambda: host.domain("ticker")["domid"] > before["ticker"]["domid"], 30, "a new run")
    after = host.domain("ticker")
    assert (after["uuid"], after["state"]) == (before["ticker"]["uuid"], "running")
    assert list(host.guests()) == [after["pid"]]


def test_a_guest_that_was_killed_while_no_daemon_looked_has_crashed(real_host: Host, tiny: TinyImage) -> None:
    host = real_host
    host.ok("create", host.write("one.cfg", silent(tiny, "one")))
    host.ok("create", host.write("two.cfg", silent(tiny, "two", 'on_crash = "restart"')))
    pids = {name: host.domain(name)["pid"] for name in ("one", "two")}
    host.kill9()
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not host.guests(), 20, "their end")
    host.start()
    host.ok("wait", "two", "--until", "running", "--timeout", "60")
    wait_until(lambda: host.names() == ["two"], 20, "one to be gone")
    assert list(host.guests()) == [host.domain("two")["pid"]]


def test_a_guest_whose_process_is_killed_under_a_daemon_has_crashed(real_host: Host, tiny: TinyImage) -> None:
    host = real_host
    host.ok("create", host.write("one.cfg", silent(tiny, "one")))
    begin = host.json("list")["revision"]
    os.kill(host.domain("one")["pid"], signal.SIGKILL)
    wait_until(lambda: host.names() == [], 20, "one to be gone")
    host.assert_nothing_left()
    assert host.json("list")["revision"] > begin


@pytest.mark.long
def test_a_guest_that_hangs_keeps_no_daemon_from_serving_and_can_be_destroyed(
    real_host: Host, tiny: TinyImage
) -> None:
    host = real_host
    host.ok("create", host.write("mute.cfg", silent(tiny, "mute")))
    os.kill(host.domain("mute")["pid"], signal.SIGSTOP)
    host.kill9()
    host.start()
    assert host.names() == ["mute"]
    assert host.fails("pause", "mute")
    host.ok("destroy", "mute")
    host.assert_nothing_left()


def same_run(now: dict[str, object], then: dict[str, object]) -> bool:
    return all(now[field] == then[field] for field in ("uuid", "domid", "pid", "state"))


def let_go(port: int, words: str) -> None:
    """Tell a guest to do something that it may not live to answer."""
    try:
        ask(port, words)
    except OSError:
        return


def console_log(domain: dict[str, object], host: Host) -> bytes:
    """What QEMU has written while nobody can be asked."""
    return Path(host.home.domains, str(domain["domid"]), "console.log").read_bytes()


def event_log(domain: dict[str, object], host: Host) -> bytes:
    return Path(host.home.domains, str(domain["domid"]), "events.log").read_bytes()
