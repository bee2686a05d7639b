"""What guests do by themselves: they print, end in four ways, and go on while no daemon looks.

A boot of the real guest takes seconds, so each of these tests gets much out of one.
"""

from __future__ import annotations

import pytest

from wirt.model.lifecycle import EndReason, State
from wirt.ports.hypervisor import Observed, ResetKind

from .conftest import FAKE, OLD, QEMU, UNJAILED
from .rigs import READY, Rig, eventually, ready

every_driver = pytest.mark.parametrize("rig", [FAKE, QEMU, OLD], indirect=True)


@every_driver
async def test_a_guest_obeys_its_power_button_and_can_be_reset_after_its_end(rig: Rig) -> None:
    started = await rig.start(rig.config())
    domain, hypervisor = started.domain, rig.hypervisor
    await hypervisor.resume(domain)
    offset = await ready(rig, domain)
    first = hypervisor.console(domain).read(0)
    assert first.offset == 0
    assert READY in first.data or offset > len(first.data)
    await hypervisor.power_button(domain)
    await rig.changes.until(domain, State.SHUTDOWN, EndReason.POWEROFF)
    assert rig.exists(started), "the daemon decides what follows"
    await hypervisor.reset(domain, ResetKind.SOFT)
    await rig.changes.until(domain, State.RUNNING)
    await ready(rig, domain, offset)
    await rig.reboot(started)
    await rig.changes.until(domain, State.SHUTDOWN, EndReason.REBOOT)
    await hypervisor.destroy(domain)
    await rig.changes.until(domain, State.OFF, EndReason.REBOOT)
    ended = (State.SHUTDOWN, EndReason.POWEROFF), (State.SHUTDOWN, EndReason.REBOOT)
    running = (State.RUNNING, None)
    assert rig.changes.of(domain) == [running, ended[0], running, ended[1], (State.OFF, EndReason.REBOOT)]


@pytest.mark.parametrize("rig", [FAKE, QEMU, UNJAILED], indirect=True)
async def test_a_panic_and_the_watchdog_are_told_apart(rig: Rig) -> None:
    started = await rig.start(rig.config())
    domain, hypervisor = started.domain, rig.hypervisor
    await hypervisor.resume(domain)
    offset = await ready(rig, domain)
    await rig.panic(started)
    await rig.changes.until(domain, State.CRASHED, EndReason.CRASH)
    await hypervisor.reset(domain, ResetKind.HARD)
    await ready(rig, domain, offset)
    await rig.watchdog(started)
    await rig.changes.until(domain, State.CRASHED, EndReason.WATCHDOG)
    await hypervisor.destroy(domain)
    await rig.changes.until(domain, State.OFF, EndReason.WATCHDOG)


async def test_a_new_daemon_finds_a_guest_and_learns_what_it_missed(rig: Rig) -> None:
    started = await rig.start(rig.config())
    domain = started.domain
    await rig.hypervisor.resume(domain)
    offset = await ready(rig, domain)
    await rig.lose_daemon()
    assert await rig.hypervisor.adopt(started.incarnation, started.directory) == Observed(State.RUNNING)
    assert rig.hypervisor.console(domain).read(0).offset == 0
    assert READY in rig.hypervisor.console(domain).read(max(0, offset - 4096)).data
    await rig.hypervisor.pause(domain)
    await rig.changes.until(domain, State.PAUSED)
    await rig.lose_daemon()
    assert await rig.hypervisor.adopt(started.incarnation, started.directory) == Observed(State.PAUSED)
    await rig.hypervisor.resume(domain)
    await rig.lose_daemon()
    await rig.power_off(started)
    await rig.let_run(started, 1.0)
    missed = await rig.hypervisor.adopt(started.incarnation, started.directory)
    assert missed == Observed(State.SHUTDOWN, EndReason.POWEROFF)
    await rig.hypervisor.destroy(domain)
    await rig.changes.until(domain, State.OFF, EndReason.POWEROFF)


async def test_a_run_that_ended_while_no_daemon_looked_is_gone(rig: Rig) -> None:
    started = await rig.start(rig.config())
    await rig.lose_daemon()
    await rig.vanish(started)
    await eventually(lambda: not rig.exists(started))
    assert await rig.hypervisor.adopt(started.incarnation, started.directory) is None
    await rig.hypervisor.clear(started.domain, started.directory)
    again = await rig.start(rig.config(), started.domain)
    assert again.incarnation.state is State.PAUSED
