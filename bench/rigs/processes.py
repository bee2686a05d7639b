"""Processes of this machine: timed, weighed, and ended by their ids."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

GRACE_S = 10.0
COMMAND_S = 60.0
CPU = max(os.sched_getaffinity(0))
"""The one that contenders share where they have to."""


class CommandFailed(Exception):
    """A command of a contender ended with another status than 0."""


def timed_command(argv: Sequence[str], environment: Mapping[str, str], user: Mapping[str, object]) -> float:
    """Seconds from before the start of ``argv`` until it has ended. ``user``: whose it is, as Popen takes it."""
    begin = time.perf_counter()
    done = subprocess.run(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=COMMAND_S,
        check=False,
        **user,  # type: ignore[call-overload]
    )
    took_s = time.perf_counter() - begin
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise CommandFailed(f"{Path(argv[0]).name} {argv[-1]}: status {done.returncode}: {said}")
    return took_s


def started_command(
    argv: Sequence[str], environment: Mapping[str, str], user: Mapping[str, object]
) -> subprocess.Popen[bytes]:
    """``argv``, silent and not waited for."""
    process: subprocess.Popen[bytes] = subprocess.Popen(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **user,  # type: ignore[call-overload]
    )
    return process


def wait_gone(pidfd: int, timeout_s: float = GRACE_S) -> None:
    """Until the process has ended; a zombie has. ``TimeoutError`` otherwise."""
    ready, _, _ = select.select([pidfd], [], [], timeout_s)
    if not ready:
        raise TimeoutError(f"a process did not end within {timeout_s:g} s")


def end(process: subprocess.Popen[bytes]) -> None:
    """Asked first, killed if that takes long."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait(GRACE_S)


def kill_guests(directory: Path) -> None:
    """Every QEMU whose command line names ``directory``, which nobody but us has: guests outlive their daemons."""
    for pid in guests(directory):
        kill(pid)


def kill(pid: int) -> None:
    """Returns when it is gone, or was before."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        wait_gone(pidfd)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


def guests(directory: Path) -> list[int]:
    found, mark = [], os.fsencode(f"{directory}/")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"qemu-system" in words[0] and any(mark in word for word in words[1:]):
            found.append(int(entry.name))
    return found


def hold_to(pid: int, cpus: Sequence[int]) -> None:
    """All threads of ``pid``; later ones inherit it from those that make them."""
    for _ in range(2):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cpus)


def pss_mib(pid: int) -> float:
    """Proportional set size (proc(5), smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise CommandFailed(f"/proc/{pid}/smaps_rollup has no Pss")
