"""Control groups: found in what kernels say, made and removed."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from wirt.model.units import MIB
from wirt.plan.jail import Limits
from wirt.sandbox import cgroups, facts
from wirt.sandbox.cgroups import Hierarchies

LIMITS = Limits(64 * MIB, 16, 64, MIB)


def mountinfo(*mounts: tuple[Path, str, str, str]) -> str:
    return "".join(
        f"30 24 0:26 {root} {point} rw,relatime shared:9 - {kind} cgroup rw,{options}\n"
        for point, kind, options, root in mounts
    )


def unified(base: Path, controllers: str = "cpu memory pids") -> Path:
    """A directory that looks as version 2 does; a real one makes the files of a child by itself."""
    base.mkdir(parents=True)
    (base / "cgroup.controllers").write_text(controllers)
    (base / "cgroup.subtree_control").write_text("")
    return base


def test_version_2_is_found_where_the_daemon_is(tmp_path: Path) -> None:
    own = unified(tmp_path / "system.slice" / "wirtd.service")
    found = cgroups.find(mountinfo((tmp_path, "cgroup2", "nsdelegate", "/")), "0::/system.slice/wirtd.service\n")
    assert found == Hierarchies(own)
    assert found.controllers == {"cpu", "memory", "pids"}


def test_a_daemon_that_has_made_room_finds_its_place_again(tmp_path: Path) -> None:
    own = unified(tmp_path / "wirtd.service")
    (own / "wirtd").mkdir()
    assert cgroups.find(mountinfo((tmp_path, "cgroup2", "", "/")), "0::/wirtd.service/wirtd\n").unified == own


def test_version_1_is_used_for_what_version_2_has_not(tmp_path: Path) -> None:
    for name in ("memory", "cpu,cpuacct", "freezer"):
        (tmp_path / name / "user").mkdir(parents=True)
    unified(tmp_path / "unified", "hugetlb")
    text = mountinfo(
        (tmp_path / "memory", "cgroup", "memory", "/"),
        (tmp_path / "cpu,cpuacct", "cgroup", "cpu,cpuacct", "/"),
        (tmp_path / "freezer", "cgroup", "freezer", "/"),
        (tmp_path / "unified", "cgroup2", "", "/"),
    )
    found = cgroups.find(text, "4:memory:/user\n2:cpu,cpuacct:/\n1:freezer:/\n0::/\n")
    assert found == Hierarchies(
        None, (("cpu", tmp_path / "cpu,cpuacct"), ("memory", tmp_path / "memory" / "user"))
    )


def test_in_a_container_that_sees_a_part_of_the_tree_the_place_is_still_found(tmp_path: Path) -> None:
    (tmp_path / "memory" / "inner").mkdir(parents=True)
    text = mountinfo((tmp_path / "memory", "cgroup", "memory", "/docker/abc"))
    assert cgroups.find(text, "4:memory:/docker/abc/inner\n").by_controller == (
        ("memory", tmp_path / "memory" / "inner"),
    )
    assert cgroups.find(text, "4:memory:/elsewhere\n").by_controller == (("memory", tmp_path / "memory"),)


def test_nonsense_is_no_control_group() -> None:
    assert cgroups.find("", "") == Hierarchies()
    assert cgroups.find("a - b\n30 24 0:26 / /x rw - cgroup\n", "::\n0") == Hierarchies()


def test_version_2_hands_its_controllers_down_and_sets_the_limits(tmp_path: Path) -> None:
    base = unified(tmp_path / "base")
    group = cgroups.make(Hierarchies(base), "web-7", LIMITS)
    assert group.unified == base / "wirt" / "web-7"
    assert (base / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert (group.unified / "memory.max").read_text() == str(64 * MIB)
    assert (group.unified / "pids.max").read_text() == "16"


def test_weights_of_the_credit_scheduler_become_the_kernels(tmp_path: Path) -> None:
    """256 is what everyone has who says nothing; the ends of Xen's range stay within the kernel's."""
    weights = (1, 128, 256, 512, 65535)
    base, legacy = unified(tmp_path / "base"), tmp_path / "cpu"
    found: list[tuple[str, str]] = []
    for weight in weights:
        limits = replace(LIMITS, cpu_weight=weight)
        modern = cgroups.make(Hierarchies(base), f"v2-{weight}", limits)
        old = cgroups.make(Hierarchies(None, (("cpu", legacy),)), f"v1-{weight}", limits)
        assert modern.unified is not None
        found.append(((modern.unified / "cpu.weight").read_text(), (old.legacy[0] / "cpu.shares").read_text()))
    assert found == [("1", "4"), ("50", "512"), ("100", "1024"), ("200", "2048"), ("10000", "262140")]


@pytest.mark.root
def test_a_real_group_takes_a_process_and_is_gone_after_it() -> None:
    found = facts.hierarchies()
    if not found.controllers:
        pytest.skip("needs a control group that groups may be made in: boot with systemd, or mount one")
    group = cgroups.make(found, f"test-{os.getpid()}", LIMITS)
    try:

        def enter() -> None:
            group.join()
            group.add(os.getpid())

        child = subprocess.Popen(["sleep", "60"], preexec_fn=enter)  # noqa: PLW1509
        try:
            for place in group.places:
                assert str(child.pid) in (place / "cgroup.procs").read_text().split()
            assert not group.gone(), "a group with a process in it stays"
        finally:
            group.kill()
            assert child.wait(10) == -9
    finally:
        assert group.remove()
    assert not any(place.exists() for place in group.places)
    assert not any(place.parent.exists() for place in group.places) or _others(group.places)


def _others(places: tuple[Path, ...]) -> bool:
    """Another run of this host keeps the folder."""
    return any(
        any(entry.is_dir() for entry in place.parent.iterdir()) for place in places if place.parent.exists()
    )


@pytest.mark.root
def test_a_limit_that_the_kernel_refuses_leaves_no_group(tmp_path: Path) -> None:
    found = facts.hierarchies()
    if "pids" not in dict(found.by_controller):
        pytest.skip("needs version 1 of control groups with pids: mount -t cgroup -o pids none DIR")
    with pytest.raises(OSError):
        cgroups.make(found, f"test-{os.getpid()}", Limits(64 * MIB, -5, 64, MIB))
    assert not any((base / "wirt" / f"test-{os.getpid()}").exists() for _, base in found.by_controller)


def test_ending_what_is_in_a_group_never_ends_the_caller(tmp_path: Path) -> None:
    """The kernel lists its process while one of its threads is in there to start something."""
    with subprocess.Popen(["sleep", "60"]) as other:
        (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n{other.pid}\n")
        cgroups.Group((tmp_path,)).kill()
        assert other.wait(10) == -signal.SIGKILL
