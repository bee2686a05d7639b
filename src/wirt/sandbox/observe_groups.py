"""Which control groups a process is in, and what bounds it there, whoever set that.

Sources: cgroups(7), Linux, Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/{memory,pids,devices}.rst.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from wirt.plan.observed import ControlGroup
from wirt.sandbox.observe_rights import read, thread_groups

NO_LIMIT_V1 = 1 << 62
"""Version 1 says "none" as the greatest multiple of a page below 2^63."""
MOST_DEVICES = 100
BOUNDED = frozenset({"memory", "pids", "devices", "cpu", "blkio"})


def control_groups(pid: int) -> tuple[ControlGroup, ...]:
    """One for each different place that a thread of it is in, of the hierarchies that bound or weigh anything."""
    mounts = tuple(_mounts(os.fsdecode(read("/proc/self/mountinfo"))))
    found: dict[tuple[tuple[str, ...], str], ControlGroup] = {}
    for text in thread_groups(pid):
        for controllers, path in _memberships(os.fsdecode(text)):
            if controllers and not BOUNDED & set(controllers):
                continue
            place = _domain(_place(mounts, controllers, path))
            found[controllers, str(place or path)] = _group(controllers, place, path)
    return tuple(found[key] for key in sorted(found))


def _memberships(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """(controllers, path) of each line; no controllers for version 2."""
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if not names.startswith("name="):
            yield tuple(sorted(names.split(","))) if names else (), path


def _mounts(text: str) -> Iterator[tuple[str, Path, frozenset[str]]]:
    """(root, mount point, controllers) of each hierarchy that is mounted; no controllers for version 2."""
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if dash and len(kind) >= 3 and kind[0] in ("cgroup", "cgroup2"):
            options = frozenset() if kind[0] == "cgroup2" else frozenset(kind[2].split(","))
            yield fields[3], Path(fields[4]), options


def _place(mounts: tuple[tuple[str, Path, frozenset[str]], ...], names: tuple[str, ...], path: str) -> Path | None:
    for root, point, options in mounts:
        if bool(names) == bool(options) and set(names) <= options:
            inside = os.path.relpath(path, root)
            if not inside.startswith(".."):
                return point / inside
    return None


def _domain(place: Path | None) -> Path | None:
    """A threaded group is a part of the one above it, which has what bounds memory (cgroup-v2.rst, "Threads")."""
    while place is not None and _word(place / "cgroup.type") == "threaded":
        place = place.parent
    return place


def _group(controllers: tuple[str, ...], place: Path | None, path: str) -> ControlGroup:
    if place is None:
        return ControlGroup(controllers, path)
    files = ("memory.limit_in_bytes", "pids.max") if controllers else ("memory.max", "pids.max")
    memory_here, processes_here = ((place / file).exists() for file in files)
    able = {"memory": memory_here, "pids": processes_here}
    return ControlGroup(
        controllers,
        str(place),
        frozenset(name for name, there in able.items() if there),
        _least(place, files[0]) if memory_here else None,
        _least(place, files[1]) if processes_here else None,
        _devices(place, controllers),
    )


def _least(place: Path, file: str) -> int | None:
    """Of the group and all above it, to where the file is no longer there."""
    least: int | None = None
    for directory in (place, *place.parents):
        word = _word(directory / file)
        if word is None:
            break
        if word.isdigit() and int(word) < NO_LIMIT_V1:
            least = int(word) if least is None else min(least, int(word))
    return least


def _devices(place: Path, controllers: tuple[str, ...]) -> tuple[str, ...] | None:
    if "devices" not in controllers:
        return None
    text = os.fsdecode(read(str(place / "devices.list")))
    return tuple(line.strip() for line in text.splitlines() if line.strip())[:MOST_DEVICES]


def _word(path: Path) -> str | None:
    try:
        return os.fsdecode(read(str(path))).strip()
    except OSError:
        return None
