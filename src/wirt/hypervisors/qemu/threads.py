"""QEMU's threads as this host numbers them.

In a process namespace of its own QEMU tells thread numbers of that (``query-cpus-fast``). The kernel has both:
the last number of ``NSpid`` in /proc/PID/task/TID/status is the innermost (proc(5)).
"""

from __future__ import annotations

import os
from pathlib import Path


def host_thread(pid: int, told: int) -> int | None:
    """The thread that QEMU calls ``told``; ``None`` if it is gone. Costs a read for each thread of QEMU's, so
    keep the answer: a thread's number never changes."""
    return host_threads(pid).get(told)


def host_threads(pid: int) -> dict[int, int]:
    """All threads of ``pid``: QEMU's number to the host's."""
    found = {}
    try:
        tasks = [int(task.name) for task in os.scandir(f"/proc/{pid}/task")]
    except OSError:
        return {}
    for tid in tasks:
        inner = _innermost(Path(f"/proc/{pid}/task/{tid}/status"))
        found[tid if inner is None else inner] = tid
    return found


def _innermost(status: Path) -> int | None:
    try:
        for line in status.read_text(errors="replace").splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    except (OSError, ValueError):
        return None
    return None
