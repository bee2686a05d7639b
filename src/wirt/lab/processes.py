"""The processes of a lab's host, wirtd and QEMUs: known by a word in their environment, or by their parent."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path

from wirt.lab.errors import LabError

TAG = "WIRT_LAB_HOST"
"""Its value is the host's home."""
DEADLINE_S = 30.0


def processes_of(home: Path) -> set[int]:
    """All that live. A jail hides the environment of what is in it, but not whose child it is."""
    word = os.fsencode(f"{TAG}={home}")
    tagged: set[int] = set()
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state in "ZX":
                continue
            children.setdefault(int(parent), []).append(int(entry.name))
            if word in (entry / "environ").read_bytes().split(b"\0"):
                tagged.add(int(entry.name))
    found: set[int] = set()
    waiting = [*tagged]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return found - {os.getpid()}


def end_all(home: Path) -> None:
    """At once, as when the power goes."""
    deadline = time.monotonic() + DEADLINE_S
    while left := processes_of(home):
        if time.monotonic() > deadline:
            raise LabError(f"processes of {home} can't be ended: {sorted(left)}")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            end(pid)


def end(pid: int) -> None:
    """Returns when nothing of it is left: one that is being ended shows no environment any more (proc(5)) while
    its sockets still take calls. ``LabError`` if that takes too long."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        if not select.select([process], [], [], DEADLINE_S)[0]:
            raise LabError(f"process {pid} can't be ended")
    finally:
        os.close(process)
    with contextlib.suppress(ChildProcessError):  # of our own children a zombie would stay
        os.waitpid(pid, os.WNOHANG)
