"""Runs the stand-in in a jail, and outside of one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from wirt.model.units import MIB
from wirt.plan.jail import UID_BASE, JailPlan, Limits, Uids
from wirt.ports.sandbox import Jail, Sandbox

COULD, COULD_NOT = 0, 1
ADMIT_S = 60.0
END_S = 120.0
"""Both far more than is needed here; in the test host all takes ten times as long."""
LIMITS = Limits(memory_bytes=64 * MIB, processes=16, open_files=64, file_bytes=4 * MIB)


@dataclass(frozen=True)
class Said:
    status: int
    text: str


def stand_in_plan(sandbox: Sandbox, program: Path, directory: Path, **changes: object) -> JailPlan:
    """The plan that QEMU gets, with the stand-in in QEMU's place and limits that are soon reached."""
    host = sandbox.host("/usr/bin/qemu-system-x86_64", [])
    plan = JailPlan(
        name=f"test-{os.getpid()}-{directory.parent.name}",
        directory=str(directory),
        program=str(program),
        uids=Uids(UID_BASE, 1000, 7) if host.root else None,
        groups=(),
        shown=host.program_files,
        copied=(),
        devices=("/dev/null", "/dev/urandom"),
        handed=(),
        private_network=True,
        limits=LIMITS,
        logs_bytes=MIB,
    )
    return replace(plan, **changes)  # type: ignore[arg-type]


@dataclass
class Started:
    """``outer`` is what was spawned, ``pid`` the program itself."""

    outer: subprocess.Popen[bytes]
    pid: int
    jail: Jail
    log: Path

    async def said(self) -> Said:
        status = await asyncio.to_thread(self.outer.wait, END_S)
        return Said(status, self.log.read_text(errors="replace"))


@asynccontextmanager
async def started(
    sandbox: Sandbox,
    plan: JailPlan,
    words: Sequence[str],
    inherited: Sequence[int] = (),
    before: Sequence[str] = (),
) -> AsyncIterator[Started]:
    """``before``: a command that starts bwrap, for other rights than ours. All is ended and removed at the end."""
    directory = Path(plan.directory)
    jail = await sandbox.prepare(plan)
    outer: subprocess.Popen[bytes] | None = None
    try:
        command = jail.command([plan.program, *words], inherited)
        log = directory / "qemu.log"
        with log.open("wb") as output:
            outer = jail.start(
                lambda: subprocess.Popen(
                    [*before, *command.argv],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=command.inherited,
                    start_new_session=True,
                    restore_signals=False,
                )
            )
        pid = await jail.admit(outer.pid, ADMIT_S)
        yield Started(outer, pid, jail, log)
    finally:
        jail.close()
        if outer is not None:
            await end(outer)
        await sandbox.clear(directory)


async def end(outer: subprocess.Popen[bytes]) -> None:
    """bwrap ends with the program in it; without one, or stuck before it, by itself."""
    for pid in _children(outer.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    try:
        await asyncio.to_thread(outer.wait, 2)
    except subprocess.TimeoutExpired:
        outer.kill()
        await asyncio.to_thread(outer.wait, END_S)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


async def inside(
    sandbox: Sandbox, plan: JailPlan, *words: str, inherited: Sequence[int] = (), before: Sequence[str] = ()
) -> Said:
    async with started(sandbox, plan, words, inherited, before) as run:
        return await run.said()


def outside(program: Path, *words: str, inherited: Sequence[int] = (), before: Sequence[str] = ()) -> Said:
    """The same without a jail."""
    done = subprocess.run(
        [*before, program, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=tuple(inherited),
        timeout=END_S,
        check=False,
    )
    return Said(done.returncode, done.stdout.decode(errors="replace"))
