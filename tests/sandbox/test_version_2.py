"""The jail under control groups of version 2, with systemd around it: what a present-day host has."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wirt.hypervisors.qemu.threads import host_threads
from wirt.images.tiny import TinyImage
from wirt.plan.host import Accelerator
from wirt.plan.launch import LaunchPlan
from wirt.plan.shares import Quota
from wirt.ports.shares import Mechanism, RunShares
from wirt.sandbox import HostSandbox, cgroups
from wirt.sandbox.observe_groups import control_groups
from wirt.sandbox.shares import VCPUS, host_shares

from . import test_cgroups as any_version
from .guest import Guest, guest, plan_of
from .kit import COULD, COULD_NOT, inside, stand_in_plan

pytestmark = [pytest.mark.testhost, pytest.mark.root, pytest.mark.real]

ROOT = Path(__file__).resolve().parents[2]
MOUNT = Path("/sys/fs/cgroup")
PATIENT_S = 400.0

test_a_real_group_takes_a_process_and_is_gone_after_it = (
    any_version.test_a_real_group_takes_a_process_and_is_gone_after_it
)


def kvm(tiny: TinyImage) -> LaunchPlan:
    return replace(plan_of(tiny.kernel, tiny.initramfs), accelerator=Accelerator.KVM)


def group_of(pid: int) -> Path:
    """Where the kernel has it (proc(5), /proc/pid/cgroup)."""
    line = Path(f"/proc/{pid}/cgroup").read_text().strip()
    return MOUNT / line.removeprefix("0::/")


def counts(place: Path, file: str) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in (place / file).read_text().splitlines())}


async def test_a_guest_runs_in_a_group_of_its_own_with_its_plans_limits(
    sandbox: HostSandbox, tiny: TinyImage, tmp_path: Path
) -> None:
    assert {"memory", "pids", "cpu"} <= sandbox.controllers
    async with guest(sandbox, kvm(tiny), tmp_path / "run") as run:
        place = group_of(run.pid)
        assert place.parent.name == cgroups.FOLDER
        assert (place / "memory.max").read_text().strip() == str(run.jail.limits.memory_bytes)
        assert (place / "memory.swap.max").read_text().strip() == "0"
        assert (place / "pids.max").read_text().strip() == str(run.jail.limits.processes)
        assert str(run.pid) in (place / "cgroup.procs").read_text().split()
        await run.execute("cont")
        await run.until_console(b"wirt-tiny ready", PATIENT_S)
        assert counts(place, "memory.events")["oom"] == counts(place, "pids.events")["max"] == 0
    assert not place.exists()


async def test_a_group_that_wants_more_memory_than_the_plans_limit_is_ended_whole(
    sandbox: HostSandbox, tiny: TinyImage, tmp_path: Path
) -> None:
    async with guest(sandbox, kvm(tiny), tmp_path / "run") as run:
        place = group_of(run.pid)
        assert await asyncio.to_thread(hog, place, run.jail.limits.memory_bytes) == -signal.SIGKILL
        assert await ended(run) == 128 + signal.SIGKILL
        assert counts(place, "memory.events")["oom_kill"] >= 2
    assert not place.exists()


def hog(place: Path, size_bytes: int) -> int:
    """Fill as much memory in a group as its limit is; how that ended."""
    fill = f"open('{place}/cgroup.procs', 'w').write('0'); b'x' * {size_bytes}"
    return subprocess.run([sys.executable, "-c", fill], timeout=PATIENT_S, check=False).returncode


async def ended(run: Guest) -> int:
    return await asyncio.to_thread(run.outer.wait, PATIENT_S)


async def test_no_more_processes_than_the_plans_limit_can_be_in_a_guests_group(
    sandbox: HostSandbox, tiny: TinyImage, tmp_path: Path
) -> None:
    async with guest(sandbox, kvm(tiny), tmp_path / "run") as run:
        place = group_of(run.pid)
        most = await asyncio.to_thread(crowd, place)
        assert most <= run.jail.limits.processes
        assert counts(place, "pids.events")["max"] >= 1
        assert (await run.execute("query-status"))["status"] == "prelaunch"


def crowd(place: Path) -> int:
    """Start processes in a group until the kernel refuses; how many were in there then."""
    words = f"echo 0 >{place}/cgroup.procs; for i in $(seq 300); do sleep 600 & done; wait"
    bomb = subprocess.Popen(["sh", "-c", words], stderr=subprocess.PIPE, start_new_session=True)
    try:
        assert bomb.stderr is not None
        assert b"fork" in bomb.stderr.readline()
        return int((place / "pids.current").read_text())
    finally:
        os.killpg(bomb.pid, signal.SIGKILL)
        bomb.communicate()


@pytest.mark.parametrize("attempt", ["fork 64", "memory 96"])
async def test_what_is_in_the_jail_gets_no_further_than_its_limit(
    attempt: str, sandbox: HostSandbox, breakout: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    said = await inside(sandbox, stand_in_plan(sandbox, breakout, directory), *attempt.split())
    assert said.status != COULD, said.text


def test_a_user_to_whom_systemd_delegates_has_both_limits_too(breakout: Path) -> None:
    told = elsewhere(breakout, "-p", "User=guest", "-p", "Delegate=yes")
    assert told["answers"]["fork 64"][0] == COULD_NOT
    assert told["answers"]["memory 96"][0] == 128 + signal.SIGKILL
    assert told["claims"]["memory"] and told["claims"]["pids"], told["claims"]


def test_a_user_to_whom_nothing_is_delegated_is_told_so(breakout: Path) -> None:
    told = elsewhere(breakout, "-p", "User=guest")
    assert told["answers"]["fork 64"][0] == COULD_NOT, "the limit of the process stands in"
    assert not told["claims"]["memory"] and not told["claims"]["pids"], told["claims"]


def test_root_has_both_limits_as_a_service_of_its_own(breakout: Path) -> None:
    told = elsewhere(breakout, "-p", "Delegate=yes")
    assert told["answers"]["memory 96"][0] != COULD
    assert told["claims"]["memory"] and told["claims"]["pids"], told["claims"]


def test_root_has_both_limits_where_others_share_its_group_as_in_a_logins_session(breakout: Path) -> None:
    told = elsewhere(breakout, before="sleep 600 & ")
    assert told["answers"]["memory 96"][0] != COULD
    assert told["claims"]["memory"] and told["claims"]["pids"], told["claims"]
    assert not (MOUNT / cgroups.FOLDER).exists()


def elsewhere(program: Path, *properties: str, before: str = "") -> dict[str, dict[str, Any]]:
    """What the stand-in could do in the jail of a process that systemd started with ``properties``."""
    words = ("systemd-run", "--quiet", "--pipe", "--wait", "--collect", *properties)
    settings = (f"--working-directory={ROOT}", "--setenv=PYTHONPATH=src", "--setenv=PYTHONDONTWRITEBYTECODE=1")
    command = f"{before}exec {sys.executable} -m tests.sandbox.rootless {program}"
    done = subprocess.run(
        [*words, *settings, "sh", "-c", command],
        input="fork 64\nmemory 96",
        capture_output=True,
        text=True,
        timeout=PATIENT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return told


async def test_a_quota_bounds_the_threads_of_vcpus_in_threaded_groups(
    sandbox: HostSandbox, tiny: TinyImage, tmp_path: Path
) -> None:
    """And they go with the run's group, which an audit still finds it in."""
    async with guest(sandbox, kvm(tiny), tmp_path / "run") as run:
        place = group_of(run.pid)
        told = await run.execute("query-cpus-fast")
        threads = {each["cpu-index"]: host_threads(run.pid)[each["thread-id"]] for each in told}
        shares = host_shares(sandbox)
        assert shares.mechanism is Mechanism.V2
        wanted = RunShares(512, 200, quota=Quota(50_000, 100_000), each=Quota(2_500, 10_000))
        assert shares.lay(run.directory, threads, wanted) is Mechanism.V2
        assert (place / "cpu.weight").read_text().strip() == "200"
        assert (place / VCPUS / "cpu.max").read_text().split() == ["50000", "100000"]
        for number, thread in threads.items():
            own = place / VCPUS / str(number)
            assert (own / "cpu.max").read_text().split() == ["2500", "10000"]
            assert (own / "cgroup.threads").read_text().split() == [str(thread)]
        assert [group.place for group in control_groups(run.pid)] == [str(place)]
        shares.lay(run.directory, threads, RunShares(256, 100))
        assert (place / VCPUS / "cpu.max").read_text().split()[0] == "max"
    assert not place.exists()
