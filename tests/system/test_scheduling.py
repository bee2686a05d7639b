"""Weights, caps, pins and pools of a real QEMU, from the command line to the kernel, after a kill -9 too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage
from wirt.sandbox import facts

from .guests import silent
from .host import Host

pytestmark = [pytest.mark.real, pytest.mark.root]

ONE, OTHER = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))


def vcpus(pid: int) -> dict[str, int]:
    """QEMU names the threads of vCPUs so; host numbers by those names."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    named = {(task / "comm").read_text().strip(): int(task.name) for task in tasks}
    return {name: thread for name, thread in sorted(named.items()) if name.startswith("CPU ")}


def group_of(thread: int) -> Path:
    line = next(row for row in Path(f"/proc/{thread}/cgroup").read_text().splitlines() if ":cpu:" in row)
    base = dict(facts.hierarchies().by_controller)["cpu"]
    return base / line.split(":", 2)[2].lstrip("/")


def test_terms_reach_the_kernel_and_a_new_daemon_keeps_them(real_host: Host, tiny: TinyImage) -> None:
    if "cpu" not in dict(facts.hierarchies().by_controller):
        pytest.skip("needs control groups of version 1; version 2 is tested in the test host")
    if ONE == OTHER:
        pytest.skip("needs two CPUs")
    text = silent(tiny, "web", more=f'vcpus = 2\ncap = 50\ncpus = "{OTHER}"')
    real_host.ok("create", "-p", real_host.write("web.cfg", text))
    threads = list(vcpus(real_host.domain("web")["pid"]).values())
    assert len(threads) == 2
    assert [os.sched_getaffinity(thread) for thread in threads] == [{OTHER}] * 2
    assert (group_of(threads[0]) / "cpu.cfs_quota_us").read_text().strip() == "50000"
    real_host.ok("vcpu-pin", "web", "0", str(ONE))
    real_host.ok("sched-credit", "-d", "web", "-w", "512", "-c", "150")
    assert [os.sched_getaffinity(thread) for thread in threads] == [{ONE}, {OTHER}]
    shown = [row["affinity_hard"] for row in real_host.json("vcpu-list", "web")["vcpus"]]
    assert shown == [str(ONE), str(OTHER)]
    assert (group_of(threads[0]) / "cpu.cfs_quota_us").read_text().strip() == "150000"
    assert (group_of(threads[0]).parent / "cpu.shares").read_text().strip() == "2048"

    real_host.kill9()
    real_host.start()
    shown = real_host.json("sched-credit", "-d", "web")["domains"][0]
    assert (shown["weight"], shown["cap"]) == (512, 150)
    assert "1 to 200" in real_host.fails("sched-credit", "-d", "web", "-c", "201")
    assert "cgroup v1" in real_host.json("info")["scheduling"]
    assert "may run nowhere" in real_host.fails("cpupool-create", "name=apart", f"cpus={OTHER}")
    real_host.ok("vcpu-pin", "web", "all", "all")
    real_host.ok("cpupool-create", "name=apart", f"cpus={OTHER}")
    assert [os.sched_getaffinity(thread) for thread in threads] == [os.sched_getaffinity(0) - {OTHER}] * 2
    real_host.ok("cpupool-migrate", "web", "apart")
    assert [os.sched_getaffinity(thread) for thread in threads] == [{OTHER}] * 2
    group = group_of(threads[0]).parent
    real_host.ok("destroy", "web")
    real_host.ok("cpupool-destroy", "apart")
    assert not group.exists()
