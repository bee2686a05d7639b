"""A jail's life: built, refused, abandoned, cleared."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wirt.model.errors import LaunchFailed, Unavailable
from wirt.plan.jail import Limits
from wirt.ports.sandbox import Sandbox
from wirt.sandbox import HostSandbox, NoSandbox, facts
from wirt.sandbox.cgroups import Hierarchies
from wirt.sandbox.uids import UidClaims

from .kit import LIMITS, inside, stand_in_plan, started

pytestmark = [pytest.mark.root]


@pytest.fixture(params=["jail", "none"])
def either(request: pytest.FixtureRequest) -> Sandbox:
    """The port's contract, for both that keep it."""
    if request.param == "none":
        return NoSandbox("for tests")
    sandbox: HostSandbox = request.getfixturevalue("sandbox")
    return sandbox


@pytest.mark.parametrize(("words", "status"), [(["exit", "0"], 0), (["exit", "3"], 3)])
async def test_an_exit_status_comes_through(
    either: Sandbox, words: list[str], status: int, breakout: Path, directory: Path
) -> None:
    said = await inside(either, stand_in_plan(either, breakout, directory), *words)
    assert said.status == status


async def test_a_crash_is_told_of_as_one(sandbox: HostSandbox, breakout: Path, directory: Path) -> None:
    """Process 1 of a namespace can't end by SIGABRT; abort(3) then ends it by a forced signal."""
    said = await inside(sandbox, stand_in_plan(sandbox, breakout, directory), "crash")
    assert said.status in (128 + 11, 128 + 6, 128 + 4)


async def test_the_pid_that_is_told_is_the_programs(either: Sandbox, breakout: Path, directory: Path) -> None:
    async with started(either, stand_in_plan(either, breakout, directory), ["wait"]) as run:
        async with asyncio.timeout(10):
            while Path(f"/proc/{run.pid}/comm").read_text().strip() != "breakout":
                await asyncio.sleep(0.005)
        os.kill(run.pid, 9)
        assert (await run.said()).status in (128 + 9, -9)


async def test_nothing_is_left_when_a_run_is_cleared_and_clearing_again_is_no_error(
    either: Sandbox, breakout: Path, directory: Path, tmp_path: Path
) -> None:
    plan = stand_in_plan(either, breakout, directory)
    async with started(either, plan, ["wait"]):
        pass
    await either.clear(directory)
    await either.clear(tmp_path / "never")
    assert not os.path.ismount(directory)
    assert not [claim for claim in tmp_path.glob("uids/*") if claim.name != "lock"]
    assert not list(Path("/sys/fs/cgroup").rglob(plan.name))


async def test_what_can_not_be_built_fails_with_the_reason_in_the_output(
    sandbox: HostSandbox, breakout: Path, directory: Path, tmp_path: Path
) -> None:
    usual = stand_in_plan(sandbox, breakout, directory)
    plan = stand_in_plan(sandbox, breakout, directory, shown=(*usual.shown, str(tmp_path / "missing")))
    async with started(sandbox, plan, ["exit", "0"]) as run:
        said = await run.said()
    assert said.status != 0 and "missing" in said.text


async def test_a_bubblewrap_that_ends_at_once_is_a_failed_launch(
    sandbox: HostSandbox, breakout: Path, directory: Path
) -> None:
    with pytest.raises(LaunchFailed, match="could not be built"):
        async with started(sandbox, stand_in_plan(sandbox, breakout, directory), [], before=["/bin/false"]):
            pass


async def test_a_program_whose_daemon_died_at_the_gate_never_runs(
    sandbox: HostSandbox, breakout: Path, directory: Path
) -> None:
    """It would run without its limits. It waits, and goes with its run."""
    plan = stand_in_plan(sandbox, breakout, directory)
    jail = await sandbox.prepare(plan)
    log = directory / "qemu.log"
    command = jail.command([str(breakout), "capability"], ())
    with log.open("wb") as output:
        outer = jail.start(
            lambda: subprocess.Popen(
                command.argv,
                stdout=output,
                stderr=output,
                pass_fds=command.inherited,
                restore_signals=False,
            )
        )
    jail.close()  # all that the daemon held of it
    try:
        await asyncio.sleep(0.5)
        assert "refused" not in log.read_text()
        assert _with_argument(plan.program), "it waits, and its arguments tell whose it is"
    finally:
        for pid in _with_argument(plan.program):  # as process.find and the driver do
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        await sandbox.clear(directory)
        await asyncio.to_thread(outer.wait, 10)
    assert not _with_argument(plan.program)


def _with_argument(word: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found += [int(entry.name)] if word.encode() in words else []
    return found


async def test_a_host_that_refuses_says_what_and_keeps_nothing(
    breakout: Path, directory: Path, tmp_path: Path, sandbox: HostSandbox
) -> None:
    nowhere = Hierarchies(None, (("memory", tmp_path / "no" / "such"),))
    (tmp_path / "no").write_text("in the way")
    refusing = HostSandbox(sandbox._tools, nowhere, UidClaims(tmp_path / "uids"), root=True)
    with pytest.raises(Unavailable, match=os.strerror(errno.ENOTDIR)):
        await refusing.prepare(stand_in_plan(sandbox, breakout, directory))
    assert not os.path.ismount(directory)
    assert not [claim for claim in tmp_path.glob("uids/*") if claim.name != "lock"]


async def test_a_disk_that_was_made_larger_may_be_written_to_its_new_end_or_it_is_said_why_not(
    sandbox: HostSandbox, breakout: Path, directory: Path
) -> None:
    async with started(sandbox, stand_in_plan(sandbox, breakout, directory), ["wait"]) as run:
        while Path(f"/proc/{run.pid}/comm").read_text().strip() != "breakout":
            await asyncio.sleep(0.005)
        if facts._have(("CAP_SYS_RESOURCE",)):
            sandbox.allow_file_bytes(run.pid, 1 << 30)
            limits = Path(f"/proc/{run.pid}/limits").read_text()
            assert str(1 << 30) in next(line for line in limits.splitlines() if "file size" in line)
        else:
            with pytest.raises(Unavailable, match="can't be moved here"):
                sandbox.allow_file_bytes(run.pid, 1 << 30)
    sandbox.allow_file_bytes(run.pid, 1)  # gone: no error


async def test_limits_are_on_the_program_from_its_start(
    sandbox: HostSandbox, breakout: Path, directory: Path
) -> None:
    plan = stand_in_plan(sandbox, breakout, directory, limits=Limits(LIMITS.memory_bytes, 16, 33, 1 << 20))
    async with started(sandbox, plan, ["wait"]) as run:
        rows = {
            line[:26].strip(): line[26:].split()[:2]
            for line in Path(f"/proc/{run.pid}/limits").read_text().splitlines()
        }
        groups = Path(f"/proc/{run.pid}/cgroup").read_text()
    assert rows["Max open files"] == ["33", "33"]
    assert rows["Max processes"] == ["16", "16"]
    assert rows["Max core file size"] == ["1", "1"]
    for controller in sandbox.controllers:
        assert any(plan.name in line for line in groups.splitlines() if f":{controller}" in line), controller


async def test_where_mounts_would_go_with_the_daemon_none_is_made_and_that_is_said(
    sandbox: HostSandbox, breakout: Path, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "mounts_stay", lambda: False)
    passing = HostSandbox(sandbox._tools, facts.hierarchies(), UidClaims(tmp_path / "uids"), root=True)
    async with started(passing, stand_in_plan(passing, breakout, directory), ["wait"]):
        assert not os.path.ismount(directory)
    claims = {claim.name: claim for claim in await passing.claims()}
    assert not claims["logs"].holds and "mount namespace" in claims["logs"].sentence
    assert claims["files"].holds


def test_a_process_with_a_mount_namespace_of_its_own_knows_that() -> None:
    code = "from wirt.sandbox import facts; print(facts.mounts_stay())"
    words = [sys.executable, "-c", code]
    said = [
        subprocess.run([*before, *words], capture_output=True, text=True, timeout=60, check=True).stdout.strip()
        for before in ([], ["unshare", "--mount"])
    ]
    assert said == ["True", "False"]


async def test_every_claim_of_this_host_has_a_sentence(either: Sandbox) -> None:
    claims = await either.claims()
    assert len({claim.name for claim in claims}) == len(claims) > 0
    assert all((claim.sentence and claim.sentence[0].islower()) or "QEMU" in claim.sentence for claim in claims)


async def test_a_host_without_control_groups_says_so(sandbox: HostSandbox) -> None:
    claims = {claim.name: claim for claim in await HostSandbox(sandbox._tools, Hierarchies(), root=True).claims()}
    assert not claims["memory"].holds and not claims["pids"].holds
    assert claims["namespaces"].holds
