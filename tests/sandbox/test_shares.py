"""Shares of the CPUs: the kernel's files say what was asked for, in both versions and without any."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.model.errors import Unavailable
from wirt.model.units import MIB
from wirt.plan.jail import Limits
from wirt.plan.shares import Quota
from wirt.ports.shares import Mechanism, RunShares
from wirt.sandbox import cgroups, facts
from wirt.sandbox.cgroups import Hierarchies
from wirt.sandbox.host import RECORD
from wirt.sandbox.shares import VCPUS, HostShares

HALF = RunShares(512, 200, 0, Quota(50_000, 100_000))
FREE = RunShares(256, 100)
EACH = RunShares(256, 100, each=Quota(2_500, 10_000))


@pytest.fixture
def sleeper() -> Iterator[int]:
    child = subprocess.Popen(["sleep", "600"])
    yield child.pid
    child.kill()
    child.wait()


def recorded(directory: Path, legacy: tuple[Path, ...] = (), unified: Path | None = None) -> Path:
    directory.mkdir()
    record = {"groups": list(map(str, legacy)), "unified": unified and str(unified), "uids": None}
    (directory / RECORD).write_text(json.dumps(record))
    return directory


def like_version_2(place: Path) -> Path:
    """A directory with the files that the kernel would make."""
    for each in (place, place / VCPUS, place / VCPUS / "0"):
        each.mkdir(parents=True)
        for file in ("cpu.weight", "cpu.max", "cgroup.threads", "cgroup.type", "cgroup.subtree_control"):
            (each / file).write_text("")
    return place


def test_version_2_gets_the_scaled_weight_and_a_quota_of_its_vcpus(tmp_path: Path) -> None:
    place = like_version_2(tmp_path / "group")
    run = recorded(tmp_path / "run", unified=place)
    assert HostShares(Hierarchies()).lay(run, {0: 4711}, HALF) is Mechanism.V2
    assert (place / "cpu.weight").read_text() == "200"
    assert (place / VCPUS / "cpu.max").read_text() == "50000 100000"
    assert (place / "cpu.max").read_text() == ""
    HostShares(Hierarchies()).lay(run, {0: 4711}, EACH)
    assert (place / VCPUS / "cpu.max").read_text() == "max 100000"
    assert (place / VCPUS / "0" / "cpu.max").read_text() == "2500 10000"
    assert (place / VCPUS / "0" / "cgroup.threads").read_text() == "4711"


@pytest.mark.root
def test_version_1_holds_the_threads_of_vcpus_apart_and_lets_them_go_again(tmp_path: Path, sleeper: int) -> None:
    found = facts.hierarchies()
    if "cpu" not in dict(found.by_controller):
        pytest.skip(
            "needs control groups of version 1 with the CPU controller; version 2 is tested in the test host"
        )
    group = cgroups.make(found, f"test-{os.getpid()}", Limits(64 * MIB, 16, 64, MIB))
    try:
        (place,) = [each for each in group.legacy if (each / "cpu.shares").exists()]
        (place / "tasks").write_text(str(sleeper))
        run = recorded(tmp_path / "run", group.legacy)
        shares = HostShares(found)
        assert shares.mechanism is Mechanism.V1
        for wanted in (FREE, HALF, HALF, EACH, FREE):
            assert shares.lay(run, {0: sleeper}, wanted) is Mechanism.V1
            assert int((place / "cpu.shares").read_text()) == wanted.weight * 4
            for at, quota in ((place / VCPUS, wanted.quota), (place / VCPUS / "0", wanted.each)):
                if at.exists():
                    figure = int((at / "cpu.cfs_quota_us").read_text())
                    assert figure == (-1 if quota is None else quota.quota_us)
        assert str(sleeper) in (place / VCPUS / "0" / "tasks").read_text().split()
        assert (place / "cpu.cfs_quota_us").read_text().strip() == "-1"
        (place / "tasks").write_text(str(sleeper))
    finally:
        Path(place.parent.parent / "tasks").write_text(str(sleeper))
        assert group.remove()


def test_without_a_group_threads_get_a_nice_level(tmp_path: Path, sleeper: int) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shares = HostShares(Hierarchies(), "the setting jail is off")
    assert shares.mechanism is Mechanism.NICE and "jail is off" in shares.reason
    assert shares.lay(run, {0: sleeper}, RunShares(128, 50, nice=3)) is Mechanism.NICE
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == 3


def test_a_run_that_is_gone_is_no_error(tmp_path: Path) -> None:
    shares = HostShares(Hierarchies())
    shares.lay(recorded(tmp_path / "run", (tmp_path / "gone",)), {0: 2**22 - 1}, HALF)


def test_a_host_that_refuses_is_told_of(tmp_path: Path) -> None:
    place = like_version_2(tmp_path / "group")
    (place / "cpu.weight").unlink()
    (place / "cpu.weight").mkdir()
    with pytest.raises(Unavailable, match="can't be set"):
        HostShares(Hierarchies()).lay(recorded(tmp_path / "run", unified=place), {}, HALF)
