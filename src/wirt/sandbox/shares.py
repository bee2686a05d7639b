"""Shares of the CPUs by control groups of both versions, and by nice levels where a run has none.

Below a run's group, ``vcpus`` holds the threads of its vCPUs as soon as a quota bounds them, and in it each may
have a group of its own. In version 2 these are threaded groups (Linux, Documentation/admin-guide/cgroup-v2.rst,
"Threads"; "CPU Interface Files"; version 1: scheduler/sched-design-CFS.rst and sched-bwc.rst).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wirt.model.errors import Unavailable
from wirt.plan.shares import CAP_PERIOD_US, Quota, v1_shares
from wirt.ports.sandbox import Sandbox
from wirt.ports.shares import DiskWeights, Mechanism, RunShares
from wirt.sandbox import disk_weights
from wirt.sandbox.cgroups import Hierarchies
from wirt.sandbox.host import HostSandbox, recorded_group

VCPUS = "vcpus"
_CLOSED = "wirt info says what this host allows"


@dataclass(frozen=True, slots=True)
class _Cpu:
    """A run's group in the hierarchy that has the CPU controller."""

    place: Path
    version: Mechanism

    @property
    def vcpus(self) -> Path:
        return self.place / VCPUS

    def weigh(self, shares: RunShares) -> None:
        if self.version is Mechanism.V2:
            _write(self.place / "cpu.weight", str(shares.scaled))
        else:
            _write(self.place / "cpu.shares", str(v1_shares(shares.weight)))

    def bound(self, place: Path, quota: Quota | None) -> None:
        if self.version is Mechanism.V2:
            text = f"max {CAP_PERIOD_US}" if quota is None else f"{quota.quota_us} {quota.period_us}"
            _write(place / "cpu.max", text)
            return
        quota_us, period_us = (-1, CAP_PERIOD_US) if quota is None else (quota.quota_us, quota.period_us)
        files = [("cpu.cfs_period_us", period_us), ("cpu.cfs_quota_us", quota_us)]
        for file, value in files if quota is not None else reversed(files):
            _write(place / file, str(value))

    def make(self, place: Path) -> None:
        if place.exists():
            return
        with contextlib.suppress(FileExistsError):
            place.mkdir()
        if self.version is Mechanism.V2:
            (place / "cgroup.type").write_text("threaded")
            (place.parent / "cgroup.subtree_control").write_text("+cpu")

    def move(self, place: Path, threads: Iterator[int]) -> None:
        file = place / ("cgroup.threads" if self.version is Mechanism.V2 else "tasks")
        there = set(file.read_text().split())
        for thread in threads:
            if str(thread) not in there:
                with contextlib.suppress(ProcessLookupError):
                    file.write_text(str(thread))


def host_shares(sandbox: Sandbox) -> HostShares:
    """By the groups that ``sandbox`` makes for its runs, if it makes any."""
    if isinstance(sandbox, HostSandbox):
        return HostShares(sandbox.hierarchies)
    return HostShares(Hierarchies(), "guests run without a jail, and so without control groups")


class HostShares:
    def __init__(self, hierarchies: Hierarchies, reason: str = "") -> None:
        """``reason``: why no control groups are used, if that is known."""
        self.mechanism = Mechanism.NICE
        if hierarchies.unified is not None and "cpu" in _words(hierarchies.unified / "cgroup.controllers"):
            self.mechanism = Mechanism.V2
        elif "cpu" in dict(hierarchies.by_controller):
            self.mechanism = Mechanism.V1
        self.reason = _sentence(self.mechanism, reason)
        self._disks = disk_weights.find(hierarchies)

    def lay(self, directory: Path, threads: Mapping[int, int], shares: RunShares) -> Mechanism:
        group = _group(directory)
        try:
            if group is None:
                _be_nice(directory, threads, shares.nice)
                return Mechanism.NICE
            group.weigh(shares)
            _hold(group, threads, shares)
        except FileNotFoundError:
            if group is not None and group.place.exists():
                raise
            return self.mechanism  # it has ended
        except OSError as error:
            raise Unavailable(
                f"the share of run {directory.name} can't be set: {error.strerror}: {error.filename}", hint=_CLOSED
            ) from error
        return group.version

    def disk_weights(self) -> DiskWeights:
        return self._disks.look()

    def weigh_disks(self, directory: Path, weight: int) -> bool:
        try:
            return disk_weights.weigh(recorded_group(directory), weight)
        except OSError as error:
            raise Unavailable(
                f"the disks of run {directory.name} can't be weighed: {error.strerror}: {error.filename}",
                hint=_CLOSED,
            ) from error


def _hold(group: _Cpu, threads: Mapping[int, int], shares: RunShares) -> None:
    bounded = shares.quota is not None or shares.each is not None
    if not bounded and not group.vcpus.exists():
        return
    group.make(group.vcpus)
    group.bound(group.vcpus, shares.quota)
    if shares.each is None and not any(group.vcpus.glob("[0-9]*")):
        group.move(group.vcpus, iter(threads.values()))
        return
    for number, thread in sorted(threads.items()):
        own = group.vcpus / str(number)
        group.make(own)
        group.bound(own, shares.each)
        group.move(own, iter((thread,)))


def _group(directory: Path) -> _Cpu | None:
    """Of the run in ``directory``, as its jail was made, by whichever daemon."""
    recorded = recorded_group(directory)
    if recorded.unified is not None and (recorded.unified / "cpu.weight").exists():
        return _Cpu(recorded.unified, Mechanism.V2)
    for place in recorded.legacy:
        if (place / "cpu.shares").exists():
            return _Cpu(place, Mechanism.V1)
    return None


def _be_nice(directory: Path, threads: Mapping[int, int], level: int) -> None:
    for thread in threads.values():
        try:
            if os.getpriority(os.PRIO_PROCESS, thread) != level:
                os.setpriority(os.PRIO_PROCESS, thread, level)
        except ProcessLookupError:
            continue
        except PermissionError as error:
            raise Unavailable(
                f"run {directory.name} can't be given more CPU time again: {error.strerror}",
                hint="without rights to a control group a nice level only ever goes up; start the guest anew, or "
                "run wirtd as root",
            ) from error


def _sentence(mechanism: Mechanism, reason: str) -> str:
    if mechanism is not Mechanism.NICE:
        return f"weights, caps and budgets are kept by the kernel's {mechanism}"
    why = reason or "no control group with the CPU controller may be made here"
    return f"{why}: weights are nice levels, right to about 12 %, and caps whole CPUs; budgets can't be kept"


def _write(path: Path, value: str) -> None:
    if path.read_text().strip() != value:
        path.write_text(value)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
