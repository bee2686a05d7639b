"""What wirt asks of whatever holds the threads of a run to their share of the host's CPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from wirt.plan.shares import Quota


class Mechanism(StrEnum):
    V2 = "cgroup v2"
    V1 = "cgroup v1"
    NICE = "affinity and nice"


@dataclass(frozen=True, slots=True)
class RunShares:
    """What one run is to have, in the terms of every mechanism (:mod:`wirt.plan.shares`): ``weight`` is Xen's,
    ``scaled`` that of ``cpu.weight``, ``nice`` a level. ``quota`` bounds all vCPUs together, ``each`` one of
    them."""

    weight: int
    scaled: int
    nice: int = 0
    quota: Quota | None = None
    each: Quota | None = None


@dataclass(frozen=True, slots=True)
class DiskWeights:
    """What weights of disks are worth here. ``kept``: the kernel takes them; ``counts``: and some disk is served
    by their measure now. ``sentence`` says so for people."""

    kept: bool
    counts: bool
    sentence: str


class Shares(Protocol):
    @property
    def mechanism(self) -> Mechanism:
        """What new runs are held with here."""
        ...

    @property
    def reason(self) -> str:
        """Why it is that one, in a sentence for people."""
        ...

    def lay(self, directory: Path, threads: Mapping[int, int], shares: RunShares) -> Mechanism:
        """Hold the run in ``directory`` to ``shares`` from now on, and say by what. ``threads`` are those of its
        vCPUs, by their numbers: quotas are theirs alone, so that the emulator answers even while its guest has
        used up what it may. What is so already costs a few reads. A run that is gone is no error; ``Unavailable``
        if the host refuses."""
        ...

    def disk_weights(self) -> DiskWeights:
        """As it is now."""
        ...

    def weigh_disks(self, directory: Path, weight: int) -> bool:
        """Give the run in ``directory`` this weight, 1 to 1000, among all runs that ask for the same disk.
        ``False`` if the kernel has nothing for that, or had not when the run began; ``Unavailable`` if it
        refuses."""
        ...
