"""The processes of a lab's host, wirtd and QEMUs: known by a word in their environment, or by their parent."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from wirt.lab.errors import LabError

TAG = "WIRT_LAB_HOST"
"""Its value is the host's home."""
DEADLINE_S = 30.0
_TICK_S = 0.02


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
            end(pid)
        time.sleep(_TICK_S)


def end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # of our own children a zombie would stay
        os.waitpid(pid, os.WNOHANG)
