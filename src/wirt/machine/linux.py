"""Readings from /proc; each is a few system calls and touches no guest."""

from __future__ import annotations

import os
import platform
import stat
from pathlib import Path

from wirt.model.units import KIB
from wirt.ports.machine import MachineNow

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class LinuxMachine:
    def __init__(self, name: str | None = None) -> None:
        self._name = name or platform.node() or "localhost"

    @property
    def name(self) -> str:
        return self._name

    def now(self) -> MachineNow:
        memory = _memory_kib()
        rows = [row.split() for row in Path("/proc/stat").read_text().splitlines() if row.startswith("cpu")]
        return MachineNow(
            cpus=len(os.sched_getaffinity(0)),
            memory_bytes=memory["MemTotal"] * KIB,
            available_bytes=memory["MemAvailable"] * KIB,
            cpu_time_s=_work_s(rows[0]),
            uptime_s=float(Path("/proc/uptime").read_text().split()[0]),
            release=platform.release(),
            architecture=platform.machine(),
            each_cpu_time_s=tuple((int(row[0][3:]), _work_s(row)) for row in rows[1:]),
            native_requests=_native_requests(),
        )

    def missing(self, path: str, *, write: bool) -> str | None:
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116 (the errors are what is asked for)
        except OSError as error:
            return (error.strerror or "it can't be reached").lower()
        if stat.S_ISDIR(mode):
            return "is a directory"
        if not os.access(path, os.R_OK):
            return "permission denied"
        if write and not os.access(path, os.W_OK):
            return "is not writable"
        return None

    def is_block_device(self, path: str) -> bool:
        return Path(path).is_block_device()

    def resident_bytes(self, pid: int) -> int:
        try:
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError, ValueError):
            return 0


def _native_requests() -> int:
    """None where the kernel has no Linux AIO."""
    try:
        most, taken = (int(Path("/proc/sys/fs", name).read_text()) for name in ("aio-max-nr", "aio-nr"))
    except OSError:
        return 0
    return max(0, most - taken)


def _work_s(row: list[str]) -> float:
    """user nice system idle iowait irq softirq steal: all that is neither idle nor waiting is work."""
    return sum(int(row[place]) for place in (1, 2, 3, 6, 7)) / _TICKS_PER_S


def _memory_kib() -> dict[str, int]:
    rows = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1}
