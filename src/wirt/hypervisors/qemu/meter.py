"""One QEMU's counters in /proc, read through files that stay open (proc(5); Linux,
Documentation/scheduler/sched-stats.rst, "/proc/<pid>/schedstat").

An open file is the thread's own: when that is gone it can't be read any more, whatever gets its number. A file
that stays open is read five times as fast as one that is opened for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from wirt.model.accounting import VcpuCount

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MOST_BYTES = 1024
LOOK_AFTER_NS = 10_000_000
"""A hundredth of a second: what runs less matters little wherever it is."""
_UTIME, _STIME, _PROCESSOR = 11, 12, 36
"""Fields of stat after the name in brackets, which may hold anything."""


class OpenFiles:
    """So many files may stay open at once in all; beyond that each is opened for each reading."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self) -> bool:
        if self._left <= 0:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        self._left += 1


class ProcFile:
    __slots__ = ("_descriptor", "_files", "_path")

    def __init__(self, path: str, files: OpenFiles) -> None:
        self._path = path
        self._files = files
        self._descriptor = -1

    def read(self) -> bytes:
        """Empty if there is nothing to read (any more)."""
        try:
            if self._descriptor >= 0:
                return os.pread(self._descriptor, _MOST_BYTES, 0)
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            text = os.read(descriptor, _MOST_BYTES)
        except OSError:
            text = b""
        if text and self._files.take():
            self._descriptor = descriptor
        else:
            os.close(descriptor)
        return text

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._files.give_back()


class ThreadMeter:
    """One thread. Where it is, is looked for only after it has run for a while: that costs more than the rest."""

    __slots__ = ("_count", "_looked_ns", "_schedstat", "_stat")

    def __init__(self, pid: int, tid: int, index: int, files: OpenFiles) -> None:
        self._schedstat = ProcFile(f"/proc/{pid}/task/{tid}/schedstat", files)
        self._stat = ProcFile(f"/proc/{pid}/task/{tid}/stat", files)
        self._count = VcpuCount(index, 0, None, None)
        self._looked_ns = 0

    def read(self) -> VcpuCount:
        """What was counted last, of one that is gone."""
        words = self._schedstat.read().split()
        last = self._count
        if len(words) >= 2:
            ran_ns, waited_ns = int(words[0]), int(words[1])
            if ran_ns == last.ran_ns and waited_ns == last.waited_ns:
                return last
            cpu = last.cpu
            if cpu is None or ran_ns - self._looked_ns >= LOOK_AFTER_NS:
                cpu, self._looked_ns = _cpu(_fields(self._stat.read(), _PROCESSOR)), ran_ns
            self._count = VcpuCount(last.index, ran_ns, waited_ns, cpu)
        elif fields := _fields(self._stat.read(), _PROCESSOR):
            # A kernel without CONFIG_SCHED_INFO counts ticks, and no waiting.
            self._count = VcpuCount(last.index, _ticks_ns(fields), None, _cpu(fields))
        return self._count

    def close(self) -> None:
        self._schedstat.close()
        self._stat.close()


class ProcessMeter:
    """A QEMU: the whole of it, its main thread, and its vCPUs once it is known which threads they are."""

    def __init__(self, pid: int, files: OpenFiles) -> None:
        self._pid = pid
        self._files = files
        self._stat = ProcFile(f"/proc/{pid}/stat", files)
        self._statm = ProcFile(f"/proc/{pid}/statm", files)
        self._main = ThreadMeter(pid, pid, 0, files)
        self._vcpus: dict[tuple[int, int], ThreadMeter] = {}
        self._emulator_ns = 0
        self._unplugged_ns = 0

    def set_vcpus(self, threads: Mapping[int, int]) -> None:
        """The thread of each vCPU, by its index, as the host numbers them."""
        wanted = dict(sorted(threads.items()))
        for key in self._vcpus.keys() - wanted.items():
            left = self._vcpus[key]
            self._unplugged_ns += left.read().ran_ns
            left.close()
        self._vcpus = {
            (index, tid): self._vcpus.get((index, tid)) or ThreadMeter(self._pid, tid, index, self._files)
            for index, tid in wanted.items()
        }

    def vcpus(self) -> tuple[VcpuCount, ...]:
        return tuple(meter.read() for meter in self._vcpus.values())

    def total_ns(self) -> int | None:
        """``None`` once the process is gone."""
        fields = _fields(self._stat.read(), _STIME)
        return _ticks_ns(fields) if fields else None

    def emulator_ns(self, total_ns: int, vcpus: tuple[VcpuCount, ...]) -> int:
        """What no vCPU did. The whole is counted in ticks and each vCPU is not, so the rest may seem to shrink by
        less than a tick; it never does."""
        threads = {tid: vcpu.ran_ns for (_, tid), vcpu in zip(self._vcpus, vcpus, strict=True)}
        rest_ns = total_ns - self._unplugged_ns - sum(threads.values())
        self._emulator_ns = max(self._emulator_ns, rest_ns)
        return self._emulator_ns

    def main_waited_ns(self) -> int | None:
        return self._main.read().waited_ns

    def resident_bytes(self) -> int:
        words = self._statm.read().split()
        return int(words[1]) * _PAGE_BYTES if len(words) > 1 else 0

    def close(self) -> None:
        for file in (self._stat, self._statm):
            file.close()
        for thread in (self._main, *self._vcpus.values()):
            thread.close()


def _fields(text: bytes, last: int) -> list[bytes]:
    """Those up to ``last``."""
    fields = text[text.rfind(b")") + 1 :].split(None, last + 1)
    return fields if len(fields) > last else []


def _ticks_ns(fields: list[bytes]) -> int:
    return (int(fields[_UTIME]) + int(fields[_STIME])) * _TICK_NS


def _cpu(fields: list[bytes]) -> int | None:
    return int(fields[_PROCESSOR]) if fields else None
