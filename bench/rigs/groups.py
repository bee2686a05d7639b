"""A control group around a daemon and its guests, and the way out of their own groups: limits switched off.

Fairness between two processes says nothing about groups where the kernel is fair between sessions by itself, which
it is in the root group (sched(7), "The autogroup feature"); in any other group every thread counts for itself.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.rigs.absence import NotHere
from wirt.sandbox import cgroups, facts

CONTROLLERS = ("cpu", "memory")
GONE_S = 5.0
_SHARES, _WEIGHT = 8192, 800
"""For all that is in the group, beside 1024 and 100 of everything else: the machine's other work is kept small."""


@dataclass(frozen=True, slots=True)
class Group:
    """``places``: its directory for each controller; one for all in version 2, where leaves hold processes."""

    places: dict[str, Path]
    unified: bool

    @property
    def prefix(self) -> tuple[str, ...]:
        """A command that starts another one in here."""
        script = 'for file in $PLACES; do echo $$ > "$file" || exit 1; done; exec "$@"'
        places = " ".join(str(place) for place in self._common())
        return ("env", f"PLACES={places}", "sh", "-c", script, "sh")

    def _common(self) -> list[Path]:
        leaves = {place / cgroups.LEAF if self.unified else place for place in self.places.values()}
        return sorted(leaf / "cgroup.procs" for leaf in leaves)

    def take(self, pid: int) -> None:
        """Out of its own groups, into the one that it shares with the rest."""
        for file in self._common():
            file.write_text(str(pid))

    @contextlib.contextmanager
    def taken(self, *pids: int) -> Iterator[None]:
        """They share one group for the time being."""
        own = {pid: self.own(pid) for pid in pids}
        try:
            for pid in pids:
                self.take(pid)
            yield
        finally:
            for pid, places in own.items():
                for place in places.values():
                    with contextlib.suppress(ProcessLookupError):
                        (place / "cgroup.procs").write_text(str(pid))

    def own(self, pid: int) -> dict[str, Path]:
        """Where ``pid`` is, for each controller."""
        found: dict[str, Path] = {}
        base = {name: mount_of(name, place) for name, place in self.places.items()}
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for name in self.places:
                if name in controllers.split(",") or (self.unified and controllers == ""):
                    found[name] = base[name] / path.lstrip("/")
        return found

    def beside(self, one: int, other: int) -> None:
        """``other`` gets a group for itself beside that of ``one``, as far as CPU time goes."""
        place = self.own(one)["cpu"].with_name(str(other))
        place.mkdir()
        (place / "cgroup.procs").write_text(str(other))

    def used_bytes(self, place: Path | None = None) -> int:
        """Of all in here together, or in a group below: the kernel's cache of their files is in it."""
        name = "memory.current" if self.unified else "memory.usage_in_bytes"
        return int(((place or self.places["memory"]) / name).read_text())

    def limit_bytes(self, place: Path) -> int:
        return int((place / self._limit_file()).read_text())

    def bound_memory(self, limit_bytes: int | None) -> None:
        """For all in here together; ``None`` takes it away."""
        none = "max" if self.unified else "-1"
        (self.places["memory"] / self._limit_file()).write_text(none if limit_bytes is None else str(limit_bytes))

    def _limit_file(self) -> str:
        return "memory.max" if self.unified else "memory.limit_in_bytes"


@contextlib.contextmanager
def common_group(name: str) -> Iterator[Group]:
    """``NotHere`` where no group can be made."""
    group = _made(name)
    try:
        yield group
    finally:
        _remove(group)


def _made(name: str) -> Group:
    found = facts.hierarchies()
    missing = set(CONTROLLERS) - found.controllers
    if missing:
        raise NotHere(f"needs control groups that groups may be made in, with {', '.join(sorted(missing))}")
    legacy = dict(found.by_controller)
    if found.unified is not None and not set(CONTROLLERS) & set(legacy):
        return _made_unified(found.unified, name)
    group = Group({each: legacy[each] / name for each in CONTROLLERS}, unified=False)
    for place in group.places.values():
        place.mkdir()
    (group.places["cpu"] / "cpu.shares").write_text(str(_SHARES))
    return group


def _made_unified(base: Path, name: str) -> Group:
    cgroups.leave_room(base, os.getpid())
    (base / "cgroup.subtree_control").write_text(" ".join(f"+{each}" for each in CONTROLLERS))
    place = base / name
    (place / cgroups.LEAF).mkdir(parents=True)
    (place / "cpu.weight").write_text(str(_WEIGHT))
    return Group(dict.fromkeys(CONTROLLERS, place), unified=True)


def _remove(group: Group) -> None:
    """Deepest first, when the last of their processes have been put away."""
    end = time.monotonic() + GONE_S
    for place in dict.fromkeys(group.places.values()):
        for directory in sorted([place, *(path for path in place.rglob("*") if path.is_dir())], reverse=True):
            while directory.exists():
                with contextlib.suppress(OSError):
                    directory.rmdir()
                    break
                if time.monotonic() > end:
                    break
                time.sleep(0.01)


def mount_of(controller: str, place: Path) -> Path:
    """The mount point that ``place`` is, or is below."""
    for parent in (place, *place.parents):
        if os.path.ismount(parent):
            return parent
    raise NotHere(f"no mount of the {controller} controller is above {place}")
