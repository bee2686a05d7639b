"""What only the fake can do: meet every fault on order, lose its daemon at every point, hold a thousand guests."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from wirt.hypervisors.fake import (
    DaemonDies,
    DaemonKilled,
    Die,
    FakeHypervisor,
    FakeWorld,
    Fault,
    ImageLocks,
    Refuse,
    Silence,
    Verb,
)
from wirt.model.devices import VifSpec
from wirt.model.domain import Incarnation
from wirt.model.errors import HypervisorError, HypervisorSilent, IllegalState, LaunchFailed, NotFound, ResourceBusy
from wirt.model.lifecycle import EndReason, State
from wirt.plan.launch import plan_launch
from wirt.ports.hypervisor import Launch, Observed, ResetKind
from wirt.ports.network import Plugged

from .rigs import FACTS, HOST, FakeRig, Started, launch, make_disk
from .test_contract_runs import VERBS

VERB_OF = {name: Verb(name.replace("_", "-")) for name in VERBS}


async def running(rig: FakeRig) -> Started:
    started = await rig.start(rig.config())
    await rig.hypervisor.resume(started.domain)
    await rig.hypervisor.pause(started.domain)
    return started


@pytest.mark.parametrize("name", VERBS)
async def test_a_refused_verb_changes_nothing_and_works_the_next_time(
    fake_rig: FakeRig, name: str, tmp_path: Path
) -> None:
    started = await running(fake_rig)
    before = fake_rig.world.guest(started.domain).observed
    fake_rig.world.fail(VERB_OF[name], Refuse("not today"))
    with pytest.raises(HypervisorError, match=r"guest: the hypervisor refused .*: not today"):
        await VERBS[name](fake_rig.hypervisor, started.domain)
    assert fake_rig.world.guest(started.domain).observed == before
    if name == "dump_core":
        await fake_rig.hypervisor.dump_core(started.domain, tmp_path / "core")
    else:
        await VERBS[name](fake_rig.hypervisor, started.domain)


@pytest.mark.parametrize("name", VERBS)
async def test_a_guest_that_dies_during_a_verb_is_gone(fake_rig: FakeRig, name: str) -> None:
    started = await running(fake_rig)
    fake_rig.world.fail(VERB_OF[name], Die("segfault"))
    with pytest.raises(HypervisorError, match="went away"):
        await VERBS[name](fake_rig.hypervisor, started.domain)
    await fake_rig.changes.until(started.domain, State.OFF, EndReason.CRASH)
    assert fake_rig.changes.seen[-1].message == "segfault"
    await fake_rig.hypervisor.destroy(started.domain)


@pytest.mark.parametrize("done", [False, True])
async def test_a_silent_verb_may_have_had_its_effect(fake_rig: FakeRig, done: bool) -> None:
    started = await fake_rig.start(fake_rig.config())
    fake_rig.world.fail(Verb.RESUME, Silence(after_s=5, done=done))
    task = asyncio.create_task(fake_rig.hypervisor.resume(started.domain))
    await fake_rig.clock.advance(4.9)
    assert not task.done()
    await fake_rig.clock.advance(0.1)
    with pytest.raises(HypervisorSilent, match="within 5 s"):
        await task
    expected = State.RUNNING if done else State.PAUSED
    assert fake_rig.world.guest(started.domain).observed.state is expected


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Die("no memory"), LaunchFailed),
        (Silence(), HypervisorSilent),
        (Silence(done=True), HypervisorSilent),
        (Refuse(), HypervisorError),
    ],
)
async def test_a_launch_that_fails_leaves_nothing(
    fake_rig: FakeRig, fault: Fault, error: type[Exception], tmp_path: Path
) -> None:
    config = fake_rig.config(disk=make_disk(tmp_path / "disk.raw"))
    domain = uuid4()
    fake_rig.world.fail(Verb.LAUNCH, fault)
    with pytest.raises(error, match="guest: "):
        await fake_rig.start(config, domain)
    assert fake_rig.world.guests() == ()
    assert fake_rig.changes.seen == []
    await fake_rig.start(config, domain)


@pytest.mark.parametrize("done", [False, True])
async def test_a_daemon_can_die_at_every_verb_and_the_next_one_finds_what_is(
    fake_rig: FakeRig, done: bool
) -> None:
    started = await fake_rig.start(fake_rig.config())
    fake_rig.world.fail(Verb.RESUME, DaemonDies(done=done))
    dead = fake_rig.hypervisor
    with pytest.raises(DaemonKilled):
        await dead.resume(started.domain)
    with pytest.raises(DaemonKilled):
        await dead.destroy(started.domain)
    await fake_rig.lose_daemon()
    found = await fake_rig.hypervisor.adopt(started.incarnation, started.directory)
    assert found == Observed(State.RUNNING if done else State.PAUSED)
    assert not isinstance(DaemonKilled(), Exception), "no handler may take it for a failure to undo"


@pytest.mark.parametrize("done", [False, True])
async def test_a_daemon_that_dies_in_a_launch_may_leave_a_run_to_clear(
    fake_rig: FakeRig, done: bool, tmp_path: Path
) -> None:
    config = fake_rig.config(disk=make_disk(tmp_path / "disk.raw"))
    domain = uuid4()
    fake_rig.world.fail(Verb.LAUNCH, DaemonDies(done=done))
    with pytest.raises(DaemonKilled):
        await fake_rig.start(config, domain)
    assert len(fake_rig.world.guests()) == done
    await fake_rig.lose_daemon()
    await fake_rig.hypervisor.clear(domain, tmp_path / "runs" / "1")
    assert fake_rig.world.guests() == ()
    await fake_rig.start(config, domain)


async def test_a_fault_is_for_its_domain_and_as_often_as_asked(fake_rig: FakeRig) -> None:
    first, second = await fake_rig.start(fake_rig.config()), await fake_rig.start(fake_rig.config())
    fake_rig.world.fail(Verb.RESUME, Refuse(), domain=first.domain, times=2)
    await fake_rig.hypervisor.resume(second.domain)
    for _ in range(2):
        with pytest.raises(HypervisorError):
            await fake_rig.hypervisor.resume(first.domain)
    await fake_rig.hypervisor.resume(first.domain)


async def test_a_slow_verb_takes_its_time_on_the_clock(fake_rig: FakeRig) -> None:
    started = await fake_rig.start(fake_rig.config())
    fake_rig.world.latency_s[Verb.PAUSE] = 2.0
    task = asyncio.create_task(fake_rig.hypervisor.pause(started.domain))
    await fake_rig.clock.advance(1.0)
    assert not task.done()
    fake_rig.world.guest(started.domain).vanish()
    await fake_rig.clock.advance(1.0)
    with pytest.raises(IllegalState):
        await task


async def test_a_guest_may_ignore_its_power_button(fake_rig: FakeRig) -> None:
    started = await fake_rig.start(fake_rig.config())
    await fake_rig.hypervisor.resume(started.domain)
    fake_rig.world.guest(started.domain).obeys_power_button = False
    await fake_rig.hypervisor.power_button(started.domain)
    assert fake_rig.world.guest(started.domain).observed == Observed(State.RUNNING)


async def test_a_guest_that_is_paused_or_gone_does_nothing_by_itself(fake_rig: FakeRig) -> None:
    started = await fake_rig.start(fake_rig.config())
    guest = fake_rig.world.guest(started.domain)
    for act in (guest.power_off, guest.reboot, guest.panic, guest.watchdog, lambda: guest.print(b"x")):
        with pytest.raises(IllegalState):
            act()
    guest.vanish()
    with pytest.raises(NotFound):
        fake_rig.world.guest(started.domain)
    await fake_rig.hypervisor.destroy(started.domain)


async def test_a_boot_script_may_end_its_guest_at_once(fake_rig: FakeRig) -> None:
    fake_rig.world.on_boot = lambda guest: guest.panic()
    started = await fake_rig.start(fake_rig.config())
    await fake_rig.hypervisor.resume(started.domain)
    await fake_rig.changes.until(started.domain, State.CRASHED, EndReason.CRASH)
    await fake_rig.hypervisor.reset(started.domain, ResetKind.HARD)
    assert fake_rig.changes.of(started.domain)[-1] == (State.CRASHED, EndReason.CRASH)


async def test_cpu_time_goes_by_only_while_a_guest_runs_and_is_busy(fake_rig: FakeRig) -> None:
    started = await fake_rig.start(fake_rig.config(vcpus=2))
    guest = fake_rig.world.guest(started.domain)
    guest.load = 1.0
    await fake_rig.clock.advance(10)
    assert guest.cpu_time_s == 0
    await fake_rig.hypervisor.resume(started.domain)
    await fake_rig.clock.advance(10)
    guest.load = 0.25
    await fake_rig.clock.advance(8)
    await fake_rig.hypervisor.pause(started.domain)
    await fake_rig.clock.advance(100)
    assert guest.cpu_time_s == pytest.approx(2 * (10 + 2))
    assert sum(cpu.cpu_time_s for cpu in await fake_rig.hypervisor.vcpus(started.domain)) == pytest.approx(24)


async def test_hosts_that_share_storage_see_each_others_locks(fake_rig: FakeRig, tmp_path: Path) -> None:
    images = ImageLocks()
    here, there = (FakeHypervisor(FakeWorld(fake_rig.clock, images=images)) for _ in range(2))
    disk = make_disk(tmp_path / "disk.raw")
    config = fake_rig.config(disk=disk)
    first = await launch(here, config, uuid4(), 1, tmp_path / "1")
    with pytest.raises(ResourceBusy):
        await launch(there, config, first.domain, 1, tmp_path / "2")
    assert images.writers(str(disk)) == 1
    await here.destroy(first.domain)
    assert images.writers(str(disk)) == 0
    await launch(there, config, first.domain, 1, tmp_path / "2")


async def test_a_world_can_hold_two_runs_of_one_domain_so_that_a_simulation_sees_them(fake_rig: FakeRig) -> None:
    started = await fake_rig.start(fake_rig.config())
    await fake_rig.lose_daemon()
    again = await fake_rig.start(fake_rig.config(), started.domain)
    assert [guest.domain for guest in fake_rig.world.guests()] == [started.domain, started.domain]
    await fake_rig.hypervisor.sweep(again.directory.parent, frozenset({again.directory}))
    assert len(fake_rig.world.guests()) == 1


async def test_a_host_that_loses_power_has_nothing_left(fake_rig: FakeRig) -> None:
    started = await fake_rig.start(fake_rig.config())
    fake_rig.world.lose_power()
    await fake_rig.lose_daemon()
    assert await fake_rig.hypervisor.adopt(started.incarnation, started.directory) is None
    assert fake_rig.changes.seen == []


@pytest.mark.parametrize("fault", [None, Refuse(), Die()])
async def test_taps_are_closed_however_a_launch_ends(
    fake_rig: FakeRig, fault: Fault | None, tmp_path: Path
) -> None:
    config = replace(fake_rig.config(), vifs=(VifSpec(bridge="br0"),))
    plan = plan_launch(config, uuid4(), 1, replace(HOST, can_bridge=True), FACTS)
    tap = os.open("/dev/null", os.O_RDONLY)
    if fault is not None:
        fake_rig.world.fail(Verb.LAUNCH, fault)
    card = Plugged(plan.nics[0], plan.nics[0].kind, descriptor=tap, tap="vif1.0")
    begun = Incarnation(plan.uuid, 1, "here", 1, "fake", 0.0)
    with suppress(HypervisorError):
        await fake_rig.hypervisor.launch(Launch(plan, begun, tmp_path / "run", (card,)))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(tap)


async def test_a_thousand_guests_are_cheap(fake_rig: FakeRig) -> None:
    tasks = len(asyncio.all_tasks())
    start = time.perf_counter()
    many = [await fake_rig.start(fake_rig.config(f"guest-{number}")) for number in range(1000)]
    for started in many:
        await fake_rig.hypervisor.resume(started.domain)
    assert all(fake_rig.hypervisor.usage(started.domain) for started in many)
    assert len(asyncio.all_tasks()) == tasks, "no task a guest"
    for started in many:
        await fake_rig.hypervisor.destroy(started.domain)
    assert fake_rig.world.guests() == ()
    assert time.perf_counter() - start < 5
