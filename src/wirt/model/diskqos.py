"""How much a guest may ask of a disk: requests and bytes a second, with bursts. The rules are those of QEMU's
throttling (docs/throttle.txt of its source): a leaky bucket for each measure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from wirt.model.errors import BadInput

LEAST_BYTES = 4096
"""A second: with less a single request of an ordinary guest would take longer than it waits for."""
MOST_REQUESTS, MOST_BYTES = 10**9, 10**11
MOST_BURST_S = 3600
"""QEMU takes no burst that comes to more than 10**15 in all."""


class Measure(StrEnum):
    """``iops``: requests a second; ``bps``: bytes a second. Without more words, of both directions together."""

    IOPS = "iops"
    IOPS_READ = "iops-read"
    IOPS_WRITE = "iops-write"
    BPS = "bps"
    BPS_READ = "bps-read"
    BPS_WRITE = "bps-write"

    @property
    def counts_bytes(self) -> bool:
        return self.value.startswith("bps")

    @property
    def both(self) -> Measure:
        """That of both directions together."""
        return Measure.BPS if self.counts_bytes else Measure.IOPS

    @property
    def least(self) -> int:
        return LEAST_BYTES if self.counts_bytes else 1

    @property
    def most(self) -> int:
        return MOST_BYTES if self.counts_bytes else MOST_REQUESTS


@dataclass(frozen=True, slots=True)
class Limit:
    """``per_s`` in the long run; ``burst``, which is more, for as long as :attr:`DiskQos.burst_s` says."""

    measure: Measure
    per_s: int
    burst: int | None = None


@dataclass(frozen=True, slots=True)
class DiskQos:
    """``limits``: one for each measure at most, in :class:`Measure`'s order. ``group``: all disks of the domain
    that say the same share what the limits allow. Made by :func:`changed`, which checks it."""

    limits: tuple[Limit, ...] = ()
    burst_s: int = 1
    group: str | None = None

    def limit(self, measure: Measure) -> Limit | None:
        return next((limit for limit in self.limits if limit.measure is measure), None)

    @property
    def own(self) -> DiskQos:
        """Without the group."""
        return replace(self, group=None)


UNLIMITED = DiskQos()


def changed(qos: DiskQos, numbers: Mapping[Measure, int], bursts: Mapping[Measure, int]) -> DiskQos:
    """``qos`` with other numbers; 0 takes one away, and with a limit its burst goes. ``BadInput`` says what can
    be."""
    limits = {limit.measure: limit for limit in qos.limits}
    for measure, number in numbers.items():
        if number == 0:
            limits.pop(measure, None)
        else:
            limits[measure] = replace(limits.get(measure, Limit(measure, number)), per_s=number)
    for measure, burst in bursts.items():
        limit = limits.get(measure)
        if limit is None and burst:
            raise BadInput(f"{measure}-burst needs {measure}, which it is a burst of")
        if limit is not None:
            limits[measure] = replace(limit, burst=burst or None)
    after = replace(qos, limits=tuple(limits[measure] for measure in Measure if measure in limits))
    check(after)
    return after


def check(qos: DiskQos) -> None:
    """``BadInput`` if it can't be, with the range that can."""
    for limit in qos.limits:
        measure = limit.measure
        for what, number in ((str(measure), limit.per_s), (f"{measure}-burst", limit.burst)):
            if number is not None and not measure.least <= number <= measure.most:
                raise BadInput(f"{what} is from {measure.least} to {measure.most}, not {number}")
        if limit.burst is not None and limit.burst <= limit.per_s:
            raise BadInput(
                f"{measure}-burst is {limit.burst}, which is not more than {measure} with {limit.per_s}",
                hint=f"from {limit.per_s + 1} to {measure.most}",
            )
        if measure is not measure.both and qos.limit(measure.both) is not None:
            raise BadInput(
                f"{measure.both} is for both directions together, and {measure} for one",
                hint=f"give one of them up: {measure.both}=0 or {measure}=0",
            )
    if not 1 <= qos.burst_s <= MOST_BURST_S:
        raise BadInput(f"burst-seconds is from 1 to {MOST_BURST_S}, not {qos.burst_s}")


def in_force(disks: Iterable[tuple[str, DiskQos]]) -> dict[str, DiskQos]:
    """What holds for each disk, by vdev: one of a group has the group's limits, whichever of its disks names
    them. ``BadInput`` if two name different ones."""
    disks = tuple(disks)
    named: dict[str, tuple[str, DiskQos]] = {}
    for vdev, qos in disks:
        if qos.group is None or not qos.limits:
            continue
        first, limits = named.setdefault(qos.group, (vdev, qos))
        if limits != qos:
            raise BadInput(
                f"{first} and {vdev} are in group {qos.group} and name different limits",
                hint="name them at one of its disks",
            )
    return {vdev: named.get(qos.group, (vdev, qos))[1] if qos.group else qos for vdev, qos in disks}


def beyond(whole: DiskQos, part: DiskQos) -> DiskQos:
    """What of ``whole`` is not in ``part``; a group is nobody's limit."""
    added = tuple(limit for limit in whole.limits if limit not in part.limits)
    return DiskQos(added, whole.burst_s) if added else UNLIMITED
