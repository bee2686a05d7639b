"""Limits of memory by control groups of both versions (Linux, Documentation/admin-guide/cgroup-v2.rst, "Memory
Interface Files"; cgroup-v1/memory.rst, 2.4 and 5.2)."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wirt.model.errors import Unavailable
from wirt.ports.memory_limits import MemoryUse
from wirt.sandbox.host import recorded_group

_HELD = ("anon", "shmem", "kernel")
"""Of memory.stat in version 2. Before Linux 5.18 it has no sum of the kernel's own."""
_OLD_KERNEL = ("slab", "pagetables", "kernel_stack")
_LEGACY_HELD = ("total_rss", "total_shmem")
_LEGACY_NONE = 1 << 62
"""From there on a limit is none in version 1."""


@dataclass(frozen=True, slots=True)
class _Files:
    """``ends`` has a row ``oom_kill``: how many processes the kernel ended in there (in version 1 since 4.13)."""

    limit: Path
    stat: Path
    ends: Path
    unified: bool


class HostMemoryLimits:
    def look(self, directory: Path) -> MemoryUse | None:
        files = _files(directory)
        if files is None:
            return None
        try:
            limit = files.limit.read_text().strip()
            stat = _pairs(files.stat.read_text())
        except OSError:
            return None  # it has ended
        known = None if limit == "max" or int(limit) >= _LEGACY_NONE else int(limit)
        return MemoryUse(known, _held(stat, unified=files.unified))

    def bound(self, directory: Path, limit_bytes: int) -> None:
        files = _files(directory)
        if files is None:
            return
        try:
            files.limit.write_text(str(limit_bytes))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                return
            holds = error.errno == errno.EBUSY
            why = "it holds more, and does not give it" if holds else error.strerror
            raise Unavailable(
                f"the memory of run {directory.name} can't be bounded to {limit_bytes >> 20} MiB: {why}",
                hint="wirt memory plan shows what it holds; wirt destroy ends it" if holds else "wirt info",
            ) from error

    def ended(self, directory: Path) -> int | None:
        files = _files(directory)
        if files is None:
            return None
        try:
            killed = _pairs(files.ends.read_text()).get("oom_kill", 0)
            limit = files.limit.read_text().strip()
        except OSError:
            return None
        return int(limit) if killed and limit.isdigit() else None


def _files(directory: Path) -> _Files | None:
    group = recorded_group(directory)
    place = group.unified
    if place is not None and (place / "memory.max").exists():
        return _Files(place / "memory.max", place / "memory.stat", place / "memory.events", unified=True)
    for place in group.legacy:
        if (limit := place / "memory.limit_in_bytes").exists():
            return _Files(limit, place / "memory.stat", place / "memory.oom_control", unified=False)
    return None


def _held(stat: Mapping[str, int], *, unified: bool) -> int:
    if not unified:
        return sum(stat.get(name, 0) for name in _LEGACY_HELD)
    names = _HELD if "kernel" in stat else (*_HELD, *_OLD_KERNEL)
    return sum(stat.get(name, 0) for name in names)


def _pairs(text: str) -> Mapping[str, int]:
    rows = (line.split() for line in text.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
