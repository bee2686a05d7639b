"""A run's memory is bounded by its control group, of either version, and in memory: one contract for all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.model.errors import Unavailable
from wirt.model.units import MIB
from wirt.plan.jail import Limits
from wirt.sandbox import cgroups, facts
from wirt.sandbox.host import RECORD
from wirt.sandbox.memory_limits import HostMemoryLimits

HOLDER = "import sys; kept = bytearray(b'x') * (48 << 20); print('holds', flush=True); sys.stdin.read(); kept *= 2"
"""Told that there is nothing more to read, it wants as much again."""


def recorded(directory: Path, legacy: tuple[Path, ...] = (), unified: Path | None = None) -> Path:
    directory.mkdir()
    record = {"groups": list(map(str, legacy)), "unified": unified and str(unified), "uids": None}
    (directory / RECORD).write_text(json.dumps(record))
    return directory


def like_version_2(place: Path, stat: str, limit: str = "max") -> Path:
    place.mkdir()
    (place / "memory.max").write_text(f"{limit}\n")
    (place / "memory.stat").write_text(stat)
    return place


def test_version_2_tells_what_is_held_without_the_caches_of_files(tmp_path: Path) -> None:
    stat = "anon 1000\nfile 9000000\nkernel 300\nkernel_stack 100\npagetables 150\nshmem 20\nslab 50\n"
    run = recorded(tmp_path / "run", unified=like_version_2(tmp_path / "group", stat))
    limits = HostMemoryLimits()
    found = limits.look(run)
    assert found is not None and (found.limit_bytes, found.held_bytes) == (None, 1320)
    limits.bound(run, 64 * MIB)
    found = limits.look(run)
    assert found is not None and found.limit_bytes == 64 * MIB
    (tmp_path / "group/memory.stat").write_text(stat.replace("kernel 300\n", ""))
    found = limits.look(run)
    assert found is not None and found.held_bytes == 1320, "before Linux 5.18 the kernel's own are parts"


def test_it_is_known_that_the_kernel_ended_what_was_in_a_run_and_at_which_limit(tmp_path: Path) -> None:
    limits, group = HostMemoryLimits(), like_version_2(tmp_path / "group", "anon 1\n", f"{64 * MIB}")
    run = recorded(tmp_path / "run", unified=group)
    assert limits.ended(run) is None
    for killed, at in ((0, None), (2, 64 * MIB)):
        (group / "memory.events").write_text(f"low 0\nmax 9\noom 1\noom_kill {killed}\noom_group_kill 0\n")
        assert limits.ended(run) == at
    legacy = tmp_path / "legacy"
    legacy.mkdir()
    (legacy / "memory.limit_in_bytes").write_text(f"{32 * MIB}\n")
    (legacy / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert limits.ended(recorded(tmp_path / "other", (legacy,))) == 32 * MIB


def test_a_run_that_nothing_bounds_or_that_is_gone_is_no_error(tmp_path: Path) -> None:
    limits = HostMemoryLimits()
    for run in (tmp_path / "nowhere", recorded(tmp_path / "run", unified=tmp_path / "gone")):
        assert limits.look(run) is None
        limits.bound(run, MIB)
        assert limits.ended(run) is None


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A run in a group of version 1, with a process that holds 48 MiB."""
    found = facts.hierarchies()
    if "memory" not in dict(found.by_controller):
        pytest.skip("needs control groups of version 1 with the memory controller; the test host has version 2")
    group = cgroups.make(found, f"test-memory-{os.getpid()}", Limits(512 * MIB, 16, 64, MIB))
    (place,) = [each for each in group.legacy if (each / "memory.limit_in_bytes").exists()]
    run = recorded(tmp_path / "run", group.legacy)
    command = ["sh", "-c", f'echo $$ > {place}/tasks && exec "$@"', "sh", sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "holds\n"
            yield run, process
        finally:
            process.kill()
            process.wait()
            assert group.remove()


@pytest.mark.root
def test_version_1_bounds_what_is_there_and_refuses_to_take_what_is_held(
    held: tuple[Path, subprocess.Popen[str]],
) -> None:
    run, process = held
    limits = HostMemoryLimits()
    use = limits.look(run)
    assert use is not None and use.limit_bytes == 512 * MIB
    assert 48 * MIB <= use.held_bytes < 200 * MIB
    limits.bound(run, use.held_bytes + 64 * MIB)
    use = limits.look(run)
    assert use is not None and use.limit_bytes is not None and use.limit_bytes < 512 * MIB
    with pytest.raises(Unavailable, match="holds more"):
        limits.bound(run, 16 * MIB)
    after = limits.look(run)
    assert after is not None and after.limit_bytes == use.limit_bytes, "a limit that is refused changes nothing"
    assert process.poll() is None, "and nobody is killed for it"
    assert limits.ended(run) is None
    limits.bound(run, 512 * MIB)


@pytest.mark.root
def test_version_1_tells_that_it_ended_one_that_wanted_more(held: tuple[Path, subprocess.Popen[str]]) -> None:
    run, process = held
    limits = HostMemoryLimits()
    use = limits.look(run)
    assert use is not None
    limits.bound(run, use.held_bytes + 16 * MIB)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == -signal.SIGKILL
    ended = limits.ended(run)
    assert ended is not None and ended >= use.held_bytes
