"""What a guest may have goes with it: weight, cap, pins, limits of its disk, and what its balloon holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB
from wirt.sandbox import facts

from .guests import port_of
from .host import Host, wait_until
from .test_moves import is_whole, one, start
from .test_peers import pair
from .test_scheduling import group_of, vcpus

pytestmark = [pytest.mark.real, pytest.mark.root, pytest.mark.long]
CPU = max(os.sched_getaffinity(0))
MORE = f"""
disk = ["default/web,,xvda,rw,iops=100"]
cpu_weight = 512
cap = 50
cpus = "{CPU}"
maxmem = 160
"""
WAIT_S = 60.0


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    with one(tmp_path, "a") as a, one(tmp_path, "b") as b:
        pair(a, b)
        pair(b, a)
        yield a, b


def balloon_mib(host: Host) -> int:
    (told,) = host.json("stats", "web")["domains"]
    return int(told["memory_bytes"]) // MIB


def has_its_due(host: Host, iops: int, memory_mib: int) -> None:
    shown = host.json("sched-credit", "-d", "web")["domains"][0]
    assert (shown["weight"], shown["cap"]) == (512, 50)
    (thread,) = vcpus(host.domain("web")["pid"]).values()
    assert os.sched_getaffinity(thread) == {CPU}
    if "cpu" in dict(facts.hierarchies().by_controller):
        assert (group_of(thread) / "cpu.cfs_quota_us").read_text().strip() == "50000"
        assert (group_of(thread).parent / "cpu.shares").read_text().strip() == "2048"
    assert f"iops={iops}" in host.ok("disk-qos", "web", "xvda").out
    wait_until(lambda: balloon_mib(host) == memory_mib, WAIT_S, f"a balloon that leaves {memory_mib} MiB")


def test_weight_cap_pins_limits_and_balloon_go_along_and_can_be_changed_there(
    two: tuple[Host, Host], tiny: TinyImage
) -> None:
    a, b = two
    a.ok("volume", "create", "default/web", "--size", "8M", "--format", "raw")
    start(a, tiny, MORE)
    has_its_due(a, 100, 96)
    a.ok("migrate", "web", "b", "--with-storage")
    is_whole(b)
    has_its_due(b, 100, 96)
    b.ok("mem-set", "web", "128")
    b.ok("disk-qos", "web", "xvda", "--iops", "300")
    has_its_due(b, 300, 128)
    b.ok("migrate", "web", "a", "--with-storage")
    is_whole(a)
    has_its_due(a, 300, 128)
    assert port_of(a, "web")
    a.ok("destroy", "web")
