"""The control group around one run: version 2 where it has the controllers, version 1 elsewhere, one a controller.

Groups are made below the daemon's own, in ``wirt/NAME``, so that what bounds the daemon bounds its guests.
Sources: Linux, Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/{memory,pids,devices}.rst.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wirt.plan.jail import Limits
from wirt.plan.shares import v1_shares, v2_weight

MOUNTS, OWN = Path("/proc/self/mountinfo"), Path("/proc/self/cgroup")
WANTED = ("memory", "pids", "devices", "cpu", "blkio")
WELCOME = "io"
"""What version 2 calls blkio. A run goes without it where it can't be handed on."""
FOLDER = "wirt"
LEAF = "wirtd"
REMOVE_S = 2.0
"""A group can't be removed until the kernel has put its last process away, some milliseconds after its end."""

ALLOWED_DEVICES = ("c 1:3 rwm", "c 1:5 rwm", "c 1:8 r", "c 1:9 r", "c 10:232 rw")
"""null, zero, random, urandom, kvm (Linux, Documentation/admin-guide/devices.txt)."""


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where groups are made: ``unified`` for version 2, ``by_controller`` for version 1 (none in both)."""

    unified: Path | None = None
    by_controller: tuple[tuple[str, Path], ...] = ()

    @property
    def controllers(self) -> frozenset[str]:
        return frozenset(self._unified_controllers()) | frozenset(name for name, _ in self.by_controller)

    def _unified_controllers(self) -> list[str]:
        return _words(self.unified / "cgroup.controllers") if self.unified is not None else []


def find(mountinfo: str, own: str) -> Hierarchies:
    """Read from ``/proc/self/mountinfo`` and ``/proc/self/cgroup``. Which of them may be written is found out by
    doing it."""
    memberships = dict(_memberships(own))
    unified: Path | None = None
    legacy: list[tuple[str, Path]] = []
    for root, point, kind, options in _cgroup_mounts(mountinfo):
        if kind == "cgroup2":
            place = _below(point, root, memberships.get("", "/"))
            unified = place if set(WANTED) & set(_words(place / "cgroup.controllers")) else None
        else:
            names = [name for name in WANTED if name in options]
            legacy += [(name, _below(point, root, memberships.get(name, "/"))) for name in names]
    taken = set(_words(unified / "cgroup.controllers")) if unified is not None else set()
    return Hierarchies(unified, tuple(sorted(pair for pair in legacy if pair[0] not in taken)))


def _memberships(own: str) -> Iterator[tuple[str, str]]:
    for line in own.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for name in controllers.split(","):
            yield name, path


def _cgroup_mounts(mountinfo: str) -> Iterator[tuple[str, Path, str, frozenset[str]]]:
    """(root, mount point, type, options of the file system) of each (proc(5), mountinfo)."""
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if dash and len(kind) >= 3 and kind[0] in ("cgroup", "cgroup2"):
            yield fields[3], Path(fields[4]), kind[0], frozenset(kind[2].split(","))


def _below(point: Path, root: str, own: str) -> Path:
    """The caller's group as it is seen under a mount point that may show only a part of the tree."""
    inside = os.path.relpath(own, root)
    place = point if inside.startswith("..") else point / inside
    place = place.parent if place.name == LEAF else place
    return place if place.is_dir() else point


@dataclass(frozen=True, slots=True)
class Group:
    """One run's directories, one a hierarchy.

    Moving a process takes a lock of all the kernel's processes, which is had after 4 ms on an idle machine, for
    each hierarchy. A thread that moves itself needs no lock in version 1 (Linux, kernel/cgroup/cgroup.c,
    cgroup_procs_write_start), and whom it starts is where it is. Version 2 has no such door.
    """

    legacy: tuple[Path, ...] = ()
    unified: Path | None = None

    @property
    def places(self) -> tuple[Path, ...]:
        return (*self.legacy, *((self.unified,) if self.unified is not None else ()))

    def join(self) -> None:
        """Move the calling thread, where that costs nothing. Raises ``OSError``."""
        for place in self.legacy:
            (place / "tasks").write_text("0")

    def add(self, pid: int) -> None:
        """Move ``pid`` where :meth:`join` did not. Raises ``OSError`` if it is gone or the kernel refuses."""
        if self.unified is not None:
            (self.unified / "cgroup.procs").write_text(str(pid))

    def gone(self) -> bool:
        """Remove what is empty; whether all of it is gone."""
        for place in self.places:
            for below, _, _ in os.walk(place, topdown=False):
                with contextlib.suppress(OSError):
                    Path(below).rmdir()
            with contextlib.suppress(OSError):
                place.parent.rmdir()  # the last run takes the folder along
        return not any(place.exists() for place in self.places)

    def kill(self) -> None:
        """End whatever is still in there. The caller itself never is, though the kernel lists its process for as
        long as one of its threads is in there to start something (:meth:`join`)."""
        for place in self.places:
            for pid in map(int, _words(place / "cgroup.procs")):
                if pid != os.getpid():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def remove(self, deadline_s: float = REMOVE_S) -> bool:
        """Remove all, waiting for processes that are ending; whether it came to that. Blocks: call in a thread."""
        end = time.monotonic() + deadline_s
        while not self.gone():
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True


def make(hierarchies: Hierarchies, name: str, limits: Limits, devices: Sequence[str] = ALLOWED_DEVICES) -> Group:
    """The group ``name`` with its limits set. Raises ``OSError``, with nothing left behind."""
    group = group_of(hierarchies, name)
    try:
        if hierarchies.unified is not None and group.unified is not None:
            _make_unified(hierarchies.unified, group.unified, limits)
        for (controller, _), place in zip(hierarchies.by_controller, group.legacy, strict=True):
            _make_directory(place)
            _write(place, _legacy(controller, limits, devices))
    except OSError:
        group.gone()
        raise
    return group


def group_of(hierarchies: Hierarchies, name: str) -> Group:
    """Where the group ``name`` is, or will be."""
    unified = hierarchies.unified / FOLDER / name if hierarchies.unified is not None else None
    return Group(tuple(base / FOLDER / name for _, base in hierarchies.by_controller), unified)


def _make_directory(place: Path) -> None:
    """Again when another run, the last one until now, has just taken the folder along."""
    for _ in range(3):
        with contextlib.suppress(FileNotFoundError):
            place.mkdir(parents=True, exist_ok=True)
            return
    place.mkdir(parents=True, exist_ok=True)


def _make_unified(base: Path, place: Path, limits: Limits) -> None:
    wanted = [name for name in WANTED if name in _words(base / "cgroup.controllers")]
    folder = place.parent
    _make_directory(place)
    for parent in (base, folder):
        missing = [name for name in wanted if name not in _words(parent / "cgroup.subtree_control")]
        if missing:
            # Refused (EBUSY) while processes are in `base` itself: see :func:`leave_room`.
            (parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in missing))
        _hand_on_welcome(parent)
    values = {
        "memory": ("memory.max", limits.memory_bytes),
        "pids": ("pids.max", limits.processes),
        "cpu": ("cpu.weight", v2_weight(limits.cpu_weight)),
    }
    _write(place, [(file, str(value)) for name, (file, value) in values.items() if name in wanted])
    if "memory" in wanted:
        _write(place, [("memory.swap.max", "0")], optional=True)
        _write(place, [("memory.oom.group", "1")], optional=True)


def top(place: Path) -> Path:
    """The uppermost group above ``place`` that can be seen from here."""
    while (place.parent / "cgroup.controllers").exists():
        place = place.parent
    return place


def hands_down(base: Path) -> bool:
    """Whether groups below ``base`` (version 2) have its controllers, if need be once this process has left it for
    a leaf. Not so while others are in there: moving them is not ours to do."""
    missing = set(WANTED) & set(_words(base / "cgroup.controllers")) - set(_words(base / "cgroup.subtree_control"))
    try:
        if missing and _words(base / "cgroup.procs") == [str(os.getpid())]:
            leave_room(base, os.getpid())
        if missing:
            (base / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(missing)))
        _hand_on_welcome(base)
    except OSError:
        return False
    return True


def _hand_on_welcome(parent: Path) -> None:
    has, handed = _words(parent / "cgroup.controllers"), _words(parent / "cgroup.subtree_control")
    if WELCOME in has and WELCOME not in handed:
        with contextlib.suppress(OSError):
            (parent / "cgroup.subtree_control").write_text(f"+{WELCOME}")


def leave_room(base: Path, pid: int) -> None:
    """Move ``pid`` into a leaf of ``base`` (version 2): a group that hands controllers on may hold no process."""
    leaf = base / LEAF
    leaf.mkdir(exist_ok=True)
    (leaf / "cgroup.procs").write_text(str(pid))


def _legacy(controller: str, limits: Limits, devices: Sequence[str]) -> list[tuple[str, str]]:
    settings: Mapping[str, list[tuple[str, str]]] = {
        "memory": [("memory.limit_in_bytes", str(limits.memory_bytes))],
        "pids": [("pids.max", str(limits.processes))],
        "devices": [("devices.deny", "a"), *(("devices.allow", device) for device in devices)],
        "cpu": [("cpu.shares", str(v1_shares(limits.cpu_weight)))],
    }
    return settings.get(controller, [])


def _write(place: Path, values: Sequence[tuple[str, str]], *, optional: bool = False) -> None:
    for file, value in values:
        if optional and not (place / file).exists():
            continue
        (place / file).write_text(value)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
