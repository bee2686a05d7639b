"""The verbs, each on a run in each state. No guest needs to come up for these."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from wirt.model.errors import HypervisorError, IllegalState, ResourceBusy
from wirt.model.lifecycle import EndReason, State
from wirt.ports.hypervisor import Hypervisor, ResetKind

from .conftest import FAKE, QEMU, UNJAILED
from .rigs import Rig, eventually, make_disk

OFF = (State.OFF, EndReason.DESTROYED)
LOOKS = 100

VERBS: dict[str, Callable[[Hypervisor, UUID], Coroutine[Any, Any, object]]] = {
    "resume": lambda hypervisor, domain: hypervisor.resume(domain),
    "pause": lambda hypervisor, domain: hypervisor.pause(domain),
    "power_button": lambda hypervisor, domain: hypervisor.power_button(domain),
    "reset": lambda hypervisor, domain: hypervisor.reset(domain, ResetKind.HARD),
    "dump_core": lambda hypervisor, domain: hypervisor.dump_core(domain, Path("/nowhere/core")),
    "preserve": lambda hypervisor, domain: hypervisor.preserve(domain, uuid4(), "kept"),
    "vcpus": lambda hypervisor, domain: hypervisor.vcpus(domain),
}


async def test_a_run_is_told_of_from_its_paused_start_to_its_end(rig: Rig) -> None:
    hypervisor = rig.hypervisor
    started = await rig.start(rig.config())
    domain = started.domain
    assert started.incarnation.state is State.PAUSED
    assert hypervisor.console(domain).read(0).data == b"", "it must not have run yet"
    await hypervisor.resume(domain)
    await rig.changes.until(domain, State.RUNNING)
    await hypervisor.pause(domain)
    await rig.changes.until(domain, State.PAUSED)
    await hypervisor.pause(domain)
    await hypervisor.resume(domain)
    await rig.changes.until(domain, State.RUNNING)
    await hypervisor.rename(domain, "another name")
    await hypervisor.destroy(domain)
    await rig.changes.until(domain, *OFF)
    assert not rig.exists(started)
    running, paused = (State.RUNNING, None), (State.PAUSED, None)
    assert rig.changes.of(domain) == [running, paused, running, OFF], "once each, and in order"
    assert {change.domid for change in rig.changes.seen} == {started.incarnation.domid}
    assert hypervisor.usage(domain) is None
    await hypervisor.destroy(domain)
    with pytest.raises(IllegalState):
        await hypervisor.resume(domain)


async def test_a_run_that_was_never_resumed_can_be_destroyed(rig: Rig) -> None:
    started = await rig.start(rig.config())
    await rig.hypervisor.destroy(started.domain)
    assert not rig.exists(started)
    await rig.changes.until(started.domain, *OFF)


async def test_a_run_that_vanishes_has_crashed_and_can_still_be_destroyed(rig: Rig) -> None:
    started = await rig.start(rig.config())
    domain = started.domain
    console = rig.hypervisor.console(domain)
    await rig.hypervisor.resume(domain)
    await rig.vanish(started)
    await rig.changes.until(domain, State.OFF, EndReason.CRASH, within_s=10)
    assert rig.changes.seen[-1].message, "it must say what is known of it"
    for verb in VERBS.values():
        with pytest.raises(IllegalState):
            await verb(rig.hypervisor, domain)
    with pytest.raises(IllegalState):
        await console.write(b"hello?\n")
    assert rig.hypervisor.usage(domain) is None
    await rig.hypervisor.destroy(domain)
    again = await rig.start(rig.config(), domain)
    await rig.hypervisor.destroy(again.domain)


@pytest.mark.parametrize("verb", VERBS)
async def test_no_verb_is_legal_on_a_domain_that_does_not_run(rig: Rig, verb: str) -> None:
    with pytest.raises(IllegalState):
        await VERBS[verb](rig.hypervisor, uuid4())


async def test_nothing_is_known_of_a_domain_that_does_not_run(rig: Rig) -> None:
    with pytest.raises(IllegalState):
        await rig.hypervisor.rename(uuid4(), "name")
    with pytest.raises(IllegalState):
        rig.hypervisor.console(uuid4())
    assert rig.hypervisor.usage(uuid4()) is None
    await rig.hypervisor.destroy(uuid4())


async def test_a_domain_that_runs_is_not_started_again(rig: Rig) -> None:
    started = await rig.start(rig.config())
    with pytest.raises(IllegalState):
        await rig.start(rig.config(), started.domain)
    await rig.hypervisor.resume(started.domain)
    await rig.changes.until(started.domain, State.RUNNING)


async def test_a_disk_in_use_is_refused_and_free_again_after_the_end(rig: Rig, tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "disk, with a comma.raw")
    first = await rig.start(rig.config("first", disk=disk))
    with pytest.raises(ResourceBusy, match=r"second.*disk"):
        await rig.start(rig.config("second", disk=disk))
    await rig.hypervisor.resume(first.domain)
    await rig.hypervisor.destroy(first.domain)
    second = await rig.start(rig.config("second", disk=disk))
    await rig.hypervisor.resume(second.domain)
    await rig.changes.until(first.domain, *OFF)
    assert [change.domain for change in rig.changes.seen if change.state is State.OFF] == [first.domain], (
        "a launch that failed was no run"
    )


async def test_usage_and_vcpus_tell_what_a_guest_has_used(rig: Rig) -> None:
    started = await rig.start(rig.config(vcpus=2))
    domain = started.domain
    before = rig.hypervisor.usage(domain)
    assert before is not None
    assert before.memory_mib == started.config.memory_mib
    assert [cpu.index for cpu in await rig.hypervisor.vcpus(domain)] == [0, 1]
    assert not any(cpu.running or cpu.blocked for cpu in await rig.hypervisor.vcpus(domain)), "it is paused"
    await rig.hypervisor.resume(domain)
    for _ in range(LOOKS):
        await rig.let_run(started, 0.1)
        usage = rig.hypervisor.usage(domain)
        cpus = await rig.hypervisor.vcpus(domain)
        assert usage is not None
        if cpus[0].running and not usage.blocked:
            break
    else:
        pytest.fail(f"never seen running, in {LOOKS} looks at a guest that boots: {usage}, {cpus}")
    assert usage.cpu_time_s > before.cpu_time_s
    assert cpus[0].cpu is not None
    assert 0 < cpus[0].cpu_time_s <= usage.cpu_time_s


async def test_a_core_is_an_elf_file_and_the_guest_goes_on(rig: Rig, tmp_path: Path) -> None:
    started = await rig.start(rig.config())
    await rig.hypervisor.resume(started.domain)
    core = tmp_path / "a core, of it"
    await rig.hypervisor.dump_core(started.domain, core)
    with core.open("rb") as file:
        assert file.read(4) == b"\x7fELF"
    with pytest.raises(HypervisorError):
        await rig.hypervisor.dump_core(started.domain, tmp_path / "no" / "such" / "directory")
    await rig.hypervisor.pause(started.domain)
    await rig.changes.until(started.domain, State.PAUSED)


@pytest.mark.parametrize("kind", ResetKind)
async def test_a_reset_leaves_the_guest_running_within_the_same_run(rig: Rig, kind: ResetKind) -> None:
    started = await rig.start(rig.config())
    domain = started.domain
    await rig.hypervisor.resume(domain)
    await rig.hypervisor.pause(domain)
    await rig.hypervisor.reset(domain, kind)
    await rig.changes.until(domain, State.RUNNING)
    assert rig.exists(started)
    assert (State.OFF, None) not in rig.changes.of(domain)
    assert all(end is None for _, end in rig.changes.of(domain)), "a reset of ours is not the guest's end"


async def test_a_preserved_run_lets_its_domain_be_started_beside_it(rig: Rig, tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "disk.raw")
    old = await rig.start(rig.config("guest", disk=disk))
    kept = uuid4()
    await rig.hypervisor.preserve(old.domain, kept, "guest-kept")
    new = await rig.start(rig.config("guest", disk=disk), old.domain)
    await rig.hypervisor.resume(new.domain)
    with pytest.raises(HypervisorError):
        await rig.hypervisor.resume(kept)
    await rig.hypervisor.dump_core(kept, tmp_path / "core")
    await rig.hypervisor.destroy(kept)
    assert not rig.exists(old) or old.incarnation.pid is None
    await rig.changes.until(kept, *OFF)
    await rig.hypervisor.pause(new.domain)
    await rig.changes.until(new.domain, State.PAUSED)


async def test_a_running_guest_can_not_be_preserved_and_keeps_running(rig: Rig, tmp_path: Path) -> None:
    started = await rig.start(rig.config(disk=make_disk(tmp_path / "disk.raw")))
    await rig.hypervisor.resume(started.domain)
    with pytest.raises(HypervisorError):
        await rig.hypervisor.preserve(started.domain, uuid4(), "kept")
    await rig.hypervisor.pause(started.domain)
    await rig.changes.until(started.domain, State.PAUSED)


@pytest.mark.parametrize("rig", [FAKE, QEMU, UNJAILED], indirect=True)
async def test_a_start_that_was_never_recorded_is_cleared(rig: Rig) -> None:
    started = await rig.start(rig.config())
    await rig.lose_daemon()
    await rig.hypervisor.clear(started.domain, started.directory)
    await eventually(lambda: not rig.exists(started))
    assert not started.directory.exists()
    again = await rig.start(rig.config(), started.domain)
    await rig.hypervisor.resume(again.domain)
    await rig.hypervisor.clear(again.domain, started.directory)
    assert rig.exists(again), "another run of the domain is none of its business"
    await rig.hypervisor.clear(again.domain, again.directory)
    assert not rig.exists(again)
    await rig.hypervisor.clear(again.domain, again.directory)


@pytest.mark.parametrize("rig", [FAKE, QEMU, UNJAILED], indirect=True)
async def test_a_sweep_ends_what_nobody_knows_and_nothing_else(rig: Rig, tmp_path: Path) -> None:
    known, unknown = await rig.start(rig.config("known")), await rig.start(rig.config("unknown"))
    await rig.lose_daemon()
    assert await rig.hypervisor.adopt(known.incarnation, known.directory) is not None
    await rig.hypervisor.sweep(tmp_path / "elsewhere", frozenset())
    assert rig.exists(unknown)
    await rig.hypervisor.sweep(known.directory.parent, frozenset({known.directory}))
    await eventually(lambda: not rig.exists(unknown))
    assert not unknown.directory.exists()
    await rig.hypervisor.resume(known.domain)
    await rig.changes.until(known.domain, State.RUNNING)
