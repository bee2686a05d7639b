"""Weights of disks: the kernel's files say what was asked for, and it is told whether any disk looks at them."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wirt.model.units import MIB
from wirt.plan.jail import Limits
from wirt.sandbox import cgroups, disk_weights, facts
from wirt.sandbox.cgroups import Group, Hierarchies
from wirt.sandbox.disk_weights import Kernel
from wirt.sandbox.shares import HostShares

from .test_shares import recorded

LIMITS = Limits(64 * MIB, 16, 64, MIB)


def with_files(place: Path, *names: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        (place / name).write_text("default 100\n8:0 50\n" if name.startswith("io.") else "100\n")
    return place


def with_schedulers(block: Path, **chosen: str) -> Path:
    for disk, scheduler in chosen.items():
        (block / disk / "queue").mkdir(parents=True)
        known = ("none", "bfq", "cfq")
        said = " ".join(f"[{each}]" if each == scheduler else each for each in known)
        (block / disk / "queue" / "scheduler").write_text(f"{said}\n")
        (block / disk / "dev").write_text(f"8:{len(disk)}\n")
    return block


def test_every_file_that_a_group_has_gets_the_weight(tmp_path: Path) -> None:
    new = with_files(tmp_path / "v2", "io.weight", "io.bfq.weight")
    old = with_files(tmp_path / "v1", "blkio.weight")
    assert disk_weights.weigh(Group((old,), new), 5)
    assert (new / "io.weight").read_text() == (new / "io.bfq.weight").read_text() == "5"
    assert (old / "blkio.weight").read_text() == "10", "the least that cfq takes"
    assert not disk_weights.weigh(Group((tmp_path,)), 5)


def test_what_is_so_already_is_not_written(tmp_path: Path) -> None:
    place = with_files(tmp_path / "v2", "io.weight")
    disk_weights.weigh(Group((), place), 100)
    assert (place / "io.weight").read_text() == "default 100\n8:0 50\n"


def test_it_is_told_which_disks_look_at_weights(tmp_path: Path) -> None:
    none = Kernel(()).look()
    assert (none.kept, none.counts) == (False, False) and "no control group" in none.sentence
    block = with_schedulers(tmp_path / "block", sda="bfq", vdaa="none", sdccc="cfq")
    bfq = Kernel(("io.bfq.weight", "io.weight"), block).look()
    assert bfq.kept and bfq.counts and bfq.sentence.endswith("count on sda")
    cost = tmp_path / "io.cost.qos"
    cost.write_text("8:4 enable=1 ctrl=auto\n8:3 enable=0\n")
    assert Kernel(("io.weight",), block, cost).look().sentence.endswith("count on vdaa")
    assert Kernel(("blkio.weight",), block).look().sentence.endswith("count on sdccc")
    idle = Kernel(("blkio.bfq.weight",), with_schedulers(tmp_path / "other", sda="none")).look()
    assert idle.kept and not idle.counts and "give it bfq" in idle.sentence


def test_a_scheduler_whose_module_comes_after_wirtd_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new group has its file then, and so has every older one."""
    groups, mkdir = ["io.weight"], Path.mkdir

    def made(place: Path, *words: Any, **named: Any) -> None:
        mkdir(place, *words, **named)
        for name in groups if place.name.startswith("wirt-weights-") else ():
            (place / name).write_text("default 100\n")

    def gone(place: Path) -> None:
        shutil.rmtree(place)

    monkeypatch.setattr(Path, "mkdir", made)
    monkeypatch.setattr(Path, "rmdir", gone)
    base = tmp_path / "base"
    base.mkdir()
    block = with_schedulers(tmp_path / "block", sda="none")
    kernel = replace(disk_weights.find(Hierarchies(base)), block=block)
    assert not kernel.look().counts
    groups.append("io.bfq.weight")
    (block / "sda/queue/scheduler").write_text("none [bfq]\n")
    assert kernel.look().sentence.endswith("count on sda")
    assert list(base.iterdir()) == []


def test_a_host_without_groups_keeps_no_weights(tmp_path: Path) -> None:
    shares = HostShares(Hierarchies())
    assert not shares.disk_weights().kept
    run = tmp_path / "run"
    run.mkdir()
    assert not shares.weigh_disks(run, 200)


def test_version_2_hands_on_what_it_can_and_does_without_the_rest(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "cgroup.controllers").write_text("cpu io memory pids")
    (base / "cgroup.subtree_control").write_text("+cpu +memory +pids cpu memory pids")
    group = cgroups.make(Hierarchies(base), "web-7", LIMITS)
    assert group.unified is not None
    assert (base / "cgroup.subtree_control").read_text() == "+io"


@pytest.mark.root
def test_a_real_group_of_version_1_is_weighed(tmp_path: Path) -> None:
    found = facts.hierarchies()
    if not disk_weights.find(found).names:
        pytest.skip("needs a control group with blkio.bfq.weight; version 2 is tested in the test host")
    group = cgroups.make(found, f"test-weights-{os.getpid()}", LIMITS)
    try:
        shares, run = HostShares(found), recorded(tmp_path / "run", group.legacy, group.unified)
        assert shares.disk_weights().kept
        for weight in (1, 250, 250, 1000, 100):
            assert shares.weigh_disks(run, weight)
            files = [place / name for place in group.places for name in disk_weights.FILES]
            assert {int(file.read_text().split()[-1]) for file in files if file.exists()} == {weight}
        without = [
            place for place in group.places if not any((place / name).exists() for name in disk_weights.FILES)
        ]
        older = replace(group, legacy=tuple(place for place in group.legacy if place in without), unified=None)
        assert not shares.weigh_disks(recorded(tmp_path / "older", older.legacy), 5), (
            "it began without such a group"
        )
    finally:
        assert group.remove()
    assert not list(Path("/sys/fs/cgroup/blkio").rglob(f"wirt-weights-{os.getpid()}"))
