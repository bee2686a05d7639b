"""Weights of disks by control groups of both versions: what a run gets of a disk that several ask for more than it
can do.

Who looks at them is the scheduler of the disk: bfq (Linux, Documentation/block/bfq-iosched.rst, "4. BFQ group
scheduling"), the controller of io.cost (admin-guide/cgroup-v2.rst, "IO Interface Files"), and the cfq of old
kernels. On any other disk they are kept and count for nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wirt.ports.shares import DiskWeights
from wirt.sandbox.cgroups import Group, Hierarchies, top

BFQ = ("io.bfq.weight", "blkio.bfq.weight")
COST, CFQ = "io.weight", "blkio.weight"
FILES = (*BFQ, COST, CFQ)
LEAST_CFQ = 10
BLOCK, ROOT_COST = Path("/sys/block"), "io.cost.qos"


def weigh(group: Group, weight: int) -> bool:
    """Whether the group has a file for it. ``OSError`` if the kernel refuses."""
    found = False
    for path in _files(group.places):
        wanted = max(LEAST_CFQ, weight) if path.name == CFQ else weight
        with contextlib.suppress(FileNotFoundError):  # it has ended
            if _said(path.read_text()) != str(wanted):
                path.write_text(str(wanted))
            found = True
    return found


def _files(places: tuple[Path, ...]) -> Iterator[Path]:
    for place in places:
        for name in FILES:
            if (place / name).exists():
                yield place / name


def _said(text: str) -> str:
    """``100``, or ``default 100`` with lines for single disks after it."""
    words = text.splitlines()[0].split() if text.strip() else [""]
    return words[-1]


@dataclass(frozen=True, slots=True)
class Kernel:
    """``names`` of the files that a new group of this host has, as they were found in ``bases``. ``block`` and
    ``cost`` are where disks tell who serves them (``/sys/block``; ``io.cost.qos`` of the uppermost group)."""

    names: tuple[str, ...]
    block: Path = BLOCK
    cost: Path | None = None
    bases: tuple[Path, ...] = ()

    def look(self) -> DiskWeights:
        """Anew each time: a disk's scheduler is changed while it runs."""
        with_bfq = _with(self.block, "bfq")
        names = self.names
        if with_bfq and not set(names) & set(BFQ):
            # It is a module, and groups have its files once that is there.
            names = tuple(dict.fromkeys((*names, *_names(self.bases))))
        if not names:
            return DiskWeights(
                False, False, "no control group here weighs disks: their weights are only written down"
            )
        by = " and ".join(names)
        served = self._with_cost()
        served += with_bfq if set(names) & set(BFQ) else []
        served += _with(self.block, "cfq") if CFQ in names else []
        if not served:
            return DiskWeights(
                True,
                False,
                f"weights of disks are kept by {by}, and no disk's scheduler looks at them now: give it bfq "
                "(/sys/block/DISK/queue/scheduler)",
            )
        return DiskWeights(
            True, True, f"weights of disks are kept by {by} and count on {', '.join(sorted(served))}"
        )

    def _with_cost(self) -> list[str]:
        if COST not in self.names or self.cost is None:
            return []
        lines = [line.split() for line in _text(self.cost).splitlines()]
        numbers = {words[0] for words in lines if "enable=1" in words}
        return [each.name for each in _disks(self.block) if _text(each / "dev").strip() in numbers]


def find(hierarchies: Hierarchies) -> Kernel:
    """By making a group, for the uppermost ones have no weights."""
    bases = [base for name, base in hierarchies.by_controller if name == "blkio"]
    cost = None
    if hierarchies.unified is not None:
        bases.append(hierarchies.unified)
        cost = top(hierarchies.unified) / ROOT_COST
    return Kernel(_names(bases), cost=cost, bases=tuple(bases))


def _names(bases: Iterable[Path]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for base in bases for name in _tried(base)))


def _tried(base: Path) -> list[str]:
    trial = base / f"wirt-weights-{os.getpid()}"
    try:
        trial.mkdir()
    except OSError:
        return []
    try:
        return [path.name for path in _files((trial,))]
    finally:
        with contextlib.suppress(OSError):
            trial.rmdir()


def _with(block: Path, scheduler: str) -> list[str]:
    return [each.name for each in _disks(block) if f"[{scheduler}]" in _text(each / "queue/scheduler")]


def _disks(block: Path) -> list[Path]:
    try:
        return sorted(block.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
