"""A QEMU that misbehaves in start-up: an error in words within its deadline, and nothing left of it."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from uuid import uuid4

import pytest

from wirt.hypervisors.qemu.driver import QemuHypervisor, QemuSettings
from wirt.hypervisors.qemu.monitor import Patience
from wirt.model.domain import Incarnation
from wirt.model.errors import HypervisorSilent, IllegalState, LaunchFailed, Shortage, WirtError
from wirt.model.lifecycle import State
from wirt.plan.launch import plan_launch
from wirt.plan.nics import NicPlan
from wirt.ports.hypervisor import Launch
from wirt.ports.network import Plugged
from wirt.sandbox import NoSandbox

from .qemu_plans import CONFIGS, HOST, TCG, plan
from .qemu_scripts import standin, still_there
from .rigs import eventually

PATIENCE = Patience(greeting_s=1.0, command_s=1.0, quit_s=0.5)

MISBEHAVIOUR: dict[str, tuple[str, type[WirtError], str]] = {
    "says nothing": ("time.sleep(60)", HypervisorSilent, "event greeting within 1 s"),
    "accepts and says nothing": (
        "peer, _ = listener('events').accept(); time.sleep(60)",
        HypervisorSilent,
        "within",
    ),
    "greets and never answers": ("peer = serve('events', GREETING); time.sleep(60)", HypervisorSilent, "within"),
    "dies with words": (
        "sys.stderr.write('qemu: warning: never mind\\nqemu: -m: too much\\n'); sys.exit(1)",
        LaunchFailed,
        r"direct: QEMU ended in start-up \(exit status 1\): qemu: -m: too much$",
    ),
    "dies without a word": ("sys.exit(0)", LaunchFailed, r"\(exit status 0\): without a word"),
    "dies by a signal": ("os.kill(os.getpid(), 11)", LaunchFailed, r"signal SIGSEGV"),
    "dies after half a greeting": (
        "peer = serve('events', GREETING[:30]); sys.exit(4)",
        LaunchFailed,
        "exit status 4",
    ),
    "hangs up in mid-greeting": (
        "peer = serve('events', GREETING[:30]); peer.close(); time.sleep(60)",
        LaunchFailed,
        "event socket can't be used",
    ),
    "talks garbage": (
        "peer = serve('events', b'\\x7fELF\\n{]\\n'); time.sleep(60)",
        LaunchFailed,
        "event socket can't be used",
    ),
    "talks without end": (
        "peer = serve('events', b'')\ntry:\n    while True: peer.sendall(b'x' * 65536)\n"
        "except OSError: time.sleep(60)",
        LaunchFailed,
        "event socket can't be used",
    ),
    "is another server": ("peer = serve('events', b'[1, 2]\\n'); time.sleep(60)", LaunchFailed, "event socket"),
}


OPEN = NoSandbox("it is no QEMU")


def hypervisor_of(tmp_path: Path, body: str) -> QemuHypervisor:
    return QemuHypervisor(QemuSettings(standin(tmp_path, body), tmp_path / "cache.json", patience=PATIENCE), OPEN)


def launch_of(tmp_path: Path, name: str = "pvh", plugged: tuple[Plugged, ...] = ()) -> Launch:
    made = plan(name)
    return Launch(made, Incarnation(made.uuid, 7, "here", 1, "qemu", 0.0), tmp_path / "run", plugged)


@pytest.mark.parametrize("how", MISBEHAVIOUR)
async def test_a_start_that_goes_wrong_says_how_and_leaves_nothing(how: str, tmp_path: Path) -> None:
    body, error, words = MISBEHAVIOUR[how]
    hypervisor = hypervisor_of(tmp_path, body)
    launch = launch_of(tmp_path)
    before = open_files()
    start = time.monotonic()
    with pytest.raises(error, match=words) as caught:
        await hypervisor.launch(launch)
    assert launch.plan.name in caught.value.message
    assert time.monotonic() - start < 10, "its deadlines add up to a second or two"
    assert still_there(tmp_path) == []
    assert hypervisor.usage(launch.plan.uuid) is None
    await hypervisor.clear(launch.plan.uuid, launch.directory)
    assert not launch.directory.exists()
    await eventually(lambda: open_files() <= before)


async def test_a_launch_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    hypervisor = hypervisor_of(tmp_path, "time.sleep(60)")
    task = asyncio.create_task(hypervisor.launch(launch_of(tmp_path)))
    await eventually((tmp_path / "pids").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert still_there(tmp_path) == []


async def test_a_binary_that_is_not_there_is_named(tmp_path: Path) -> None:
    hypervisor = QemuHypervisor(QemuSettings("/nowhere/qemu", tmp_path / "cache.json"), OPEN)
    with pytest.raises(LaunchFailed, match=r"/nowhere/qemu can't be started.*install it"):
        await hypervisor.launch(launch_of(tmp_path))


async def test_taps_are_closed_however_a_launch_fails(tmp_path: Path) -> None:
    hypervisor = hypervisor_of(tmp_path, "sys.exit(1)")
    card = next(nic for nic in plan("bridged-cards").nics if nic.tap)
    for wrong in (tmp_path, Path("/proc/nowhere")):
        taps = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
        with pytest.raises((LaunchFailed, Shortage)):
            await hypervisor.launch(launch_of(wrong, "bridged-cards", bridged(card, taps)))
        for tap in taps:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(tap)


def bridged(card: NicPlan, taps: list[int]) -> tuple[Plugged, ...]:
    nics = [nic for nic in plan("bridged-cards").nics if nic.kind is card.kind]
    return tuple(Plugged(nic, nic.kind, descriptor=tap, tap=nic.tap) for nic, tap in zip(nics, taps, strict=True))


async def test_a_guest_with_uefi_needs_its_variables(tmp_path: Path) -> None:
    hypervisor = hypervisor_of(tmp_path, "print('QEMU emulator version 10.0.2'); sys.exit(0)")
    made = plan_launch(CONFIGS["hvm-ovmf"], uuid4(), 1, HOST, TCG)
    launch = Launch(made, Incarnation(made.uuid, 1, "here", 1, "qemu", 0.0), tmp_path / "run")
    with pytest.raises(LaunchFailed):
        await hypervisor.launch(launch)
    assert still_there(tmp_path) == []


async def test_a_run_that_was_never_recorded_with_a_process_is_gone(tmp_path: Path) -> None:
    hypervisor = hypervisor_of(tmp_path, "")
    incarnation = Incarnation(uuid4(), 1, "here", 1, "qemu", 0.0)
    assert await hypervisor.adopt(incarnation, tmp_path / "run") is None
    with pytest.raises(IllegalState):
        await hypervisor.resume(incarnation.domain)


async def test_a_process_number_that_was_given_away_again_is_another_process(tmp_path: Path) -> None:
    hypervisor = hypervisor_of(tmp_path, "")
    mine = Incarnation(uuid4(), 1, "here", 1, "qemu", 0.0, State.RUNNING, pid=os.getpid(), started_ticks=1)
    assert await hypervisor.adopt(mine, tmp_path / "run") is None


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
