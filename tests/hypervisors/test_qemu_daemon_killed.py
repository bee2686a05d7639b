"""A daemon that dies by kill -9, for real: its guests do not notice, and the next daemon finds each of them."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from wirt.hypervisors.qemu import process
from wirt.model.domain import DomainConfig, Incarnation
from wirt.model.lifecycle import EndReason, State
from wirt.plan.jail import run_name
from wirt.plan.launch import LaunchPlan, plan_launch
from wirt.ports.hypervisor import Observed
from wirt.sandbox import HostSandbox, facts
from wirt.sandbox.uids import CLAIMS

from .conftest import OLD, QEMU
from .qemu_daemon import PHASES
from .rigs import FACTS, HOST, READY, QemuRig, Started, eventually, jail_here, make_disk, ready

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def no_strays(tmp_path: Path) -> Iterator[None]:
    """A test that fails half-way must not leave a guest that only its dead daemon knew."""
    yield
    for directory in (*tmp_path.iterdir(), *tmp_path.glob("runs/*")):
        for stray in process.find(directory):
            os.kill(stray.pid, signal.SIGKILL)
        asyncio.run(jail_here().clear(directory))


def planned(config: DomainConfig) -> LaunchPlan:
    return plan_launch(config, uuid4(), 1, HOST, FACTS)


@asynccontextmanager
async def daemon(
    plan: LaunchPlan, directory: Path, binary: str, when: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    plan_file = directory.with_suffix(".plan")
    plan_file.write_bytes(pickle.dumps(plan))
    words = (Path(__file__).with_name("qemu_daemon.py"), plan_file, directory, binary, when)
    child = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@pytest.mark.parametrize("rig", [QEMU, OLD], indirect=True)
async def test_guests_outlive_a_killed_daemon_and_tell_the_next_one_what_happened(
    rig: QemuRig, tmp_path: Path
) -> None:
    config = rig.config()
    plan, directory = planned(config), tmp_path / "run"
    async with daemon(plan, directory, rig.binary, "running") as killed:
        assert killed.stdout is not None
        record = json.loads(await asyncio.wait_for(killed.stdout.readline(), 60))
        killed.kill()
    incarnation = Incarnation(plan.uuid, 1, "here", 1, "qemu", 0.0, State.RUNNING, **record)
    started = rig.started_elsewhere(Started(incarnation, directory, config))
    assert await rig.hypervisor.adopt(incarnation, directory) == Observed(State.RUNNING)
    offset = await ready(rig, plan.uuid)
    text = rig.hypervisor.console(plan.uuid).read(0).data
    assert text.startswith((b"[    0.000000] Linux version", b"\x1bc", b"SeaBIOS")), "from the first byte"
    assert READY in rig.hypervisor.console(plan.uuid).read(offset - 1000).data
    await rig.lose_daemon()
    await rig.panic(started)
    await asyncio.sleep(1.5)
    assert await rig.hypervisor.adopt(incarnation, directory) == Observed(State.CRASHED, EndReason.CRASH)
    await rig.hypervisor.destroy(plan.uuid)
    await rig.changes.until(plan.uuid, State.OFF, EndReason.CRASH)
    assert not rig.exists(started)


@pytest.mark.parametrize("when", PHASES)
async def test_a_start_of_which_nothing_was_recorded_is_found_and_ended(
    when: str, qemu_rig: QemuRig, tmp_path: Path
) -> None:
    """However far it came, nothing of it is left: neither process nor mount, control group, uid or directory."""
    if not isinstance(qemu_rig.sandbox, HostSandbox) or not facts.may_be_root():
        pytest.skip("needs a jail as root builds it: sudo make test, with bubblewrap")
    plan = planned(qemu_rig.config(disk=make_disk(tmp_path / "disk.raw")))
    directory = tmp_path / "runs" / "a directory, with a comma"
    directory.parent.mkdir()
    bystander = await qemu_rig.start(qemu_rig.config("bystander"))
    async with daemon(plan, directory, qemu_rig.binary, when) as killed:
        assert await asyncio.wait_for(killed.wait(), 60) == -signal.SIGKILL
    assert os.path.ismount(directory)

    await qemu_rig.hypervisor.sweep(directory.parent, frozenset({bystander.directory}))

    await eventually(lambda: process.find(directory) == [])
    assert not directory.exists() and not os.path.ismount(directory)
    assert not [claim for claim in CLAIMS.iterdir() if claim.is_symlink() and claim.readlink() == directory]
    assert not list(Path("/sys/fs/cgroup").rglob(run_name(plan, str(directory))))
    assert qemu_rig.exists(bystander)


async def test_a_start_can_be_repeated_after_a_daemon_died_in_it(qemu_rig: QemuRig, tmp_path: Path) -> None:
    config = qemu_rig.config(disk=make_disk(tmp_path / "disk.raw"))
    plan, directory = planned(config), tmp_path / "runs" / "1"
    directory.parent.mkdir()
    async with daemon(plan, directory, qemu_rig.binary, "spawned") as killed:
        assert await asyncio.wait_for(killed.wait(), 60) == -signal.SIGKILL
    await eventually(lambda: process.find(directory) != [])
    await qemu_rig.hypervisor.clear(plan.uuid, directory)
    assert process.find(directory) == []
    again = await qemu_rig.start(config, plan.uuid)
    await qemu_rig.hypervisor.resume(again.domain)
