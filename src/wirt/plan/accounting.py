"""Rates from counters: how busy a run has been between two samples.

A counter that is smaller than before has started anew in between, and what it says now is what has come since. A
run of which there is one sample only (new, come from another host, refreshed) has no rates yet: nobody knows when
it began to count. Over a gap between two samples (the daemon was busy, the host asleep) the rate is the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from wirt.model.accounting import CardCount, DiskCount, Sample, Told, VcpuCount

LEAST_S = 0.05
"""Between two samples. Closer ones tell more of the clock's ticks than of the run."""
_NS = 1e9


@dataclass(frozen=True, slots=True)
class VcpuRate:
    """Parts of the time, 0 to 1: it ran; it could have run and had no CPU (``None``: not known)."""

    index: int
    used: float
    waited: float | None
    cpu: int | None


@dataclass(frozen=True, slots=True)
class DiskRate:
    """A second. ``in_flight``: how many of its requests were under way at a time, in the mean."""

    vdev: str
    reads: float
    writes: float
    flushes: float
    read_bytes: float
    written_bytes: float
    in_flight: float


@dataclass(frozen=True, slots=True)
class CardRate:
    """A second, as the guest sees it."""

    index: int
    rx_bytes: float
    rx_packets: float
    tx_bytes: float
    tx_packets: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Over the last ``over_s``; ``cpu`` and ``emulator`` in CPUs; ``None``: not known. Disks are told of more
    rarely: theirs are over ``disks_over_s``, 0 while they are not known."""

    over_s: float
    cpu: float
    emulator: float | None
    emulator_waited: float | None
    vcpus: tuple[VcpuRate, ...]
    cards: tuple[CardRate, ...] = ()
    disks: tuple[DiskRate, ...] = ()
    disks_over_s: float = 0.0

    @property
    def waited(self) -> float | None:
        """Of all vCPUs together, in CPUs."""
        known = [vcpu.waited for vcpu in self.vcpus if vcpu.waited is not None]
        return sum(known) if known else None


def grown(before: int, now: int) -> int:
    return now - before if now >= before else now


def same_run(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The newest of ``samples`` and those right before it that are of the same run."""
    start = len(samples)
    while start > 0 and samples[start - 1].count.run == samples[-1].count.run:
        start -= 1
    return samples[start:]


def rates(samples: Sequence[Sample], over_s: float = 0.0) -> Rates | None:
    """From the newest sample and the newest that is ``over_s`` older, or the oldest of the same run. ``None``
    while there is none."""
    samples = same_run(samples)
    base = _base(samples, over_s)
    if base is None:
        return None
    now = samples[-1]
    passed = now.at_s - base.at_s
    cards = {card.index: card for card in base.cards}
    disks, disks_over_s = _disks(samples, base.at_s)
    return Rates(
        over_s=passed,
        cpu=grown(base.count.total_ns, now.count.total_ns) / _NS / passed,
        emulator=_part(base.count.emulator_ns, now.count.emulator_ns, passed),
        emulator_waited=_part(base.count.emulator_waited_ns, now.count.emulator_waited_ns, passed),
        vcpus=_vcpus(base, now, passed),
        cards=tuple(_card(cards[card.index], card, passed) for card in now.cards if card.index in cards),
        disks=disks,
        disks_over_s=disks_over_s,
    )


def series(samples: Sequence[Sample]) -> list[tuple[float, Rates]]:
    """The rates between each two neighbours of the newest run, with the time of the later one. Those of disks are
    the last that were known."""
    samples = same_run(samples)
    found: list[tuple[float, Rates]] = []
    for before, now in pairwise(samples):
        rate = rates((before, now))
        if rate is None:
            continue
        if not rate.disks_over_s and found and now.count.told is not None:
            last = found[-1][1]
            rate = replace(rate, disks=last.disks, disks_over_s=last.disks_over_s)
        found.append((now.at_s, rate))
    return found


def _base(samples: Sequence[Sample], over_s: float) -> Sample | None:
    older = [sample for sample in samples[:-1] if samples[-1].at_s - sample.at_s >= LEAST_S]
    wide = [sample for sample in older if samples[-1].at_s - sample.at_s >= over_s]
    return wide[-1] if wide else (older[0] if older else None)


def _part(before: int | None, now: int | None, passed: float) -> float | None:
    return None if before is None or now is None else grown(before, now) / _NS / passed


def _vcpus(before: Sample, now: Sample, passed: float) -> tuple[VcpuRate, ...]:
    earlier = {vcpu.index: vcpu for vcpu in before.count.vcpus}
    return tuple(_vcpu(earlier[vcpu.index], vcpu, passed) for vcpu in now.count.vcpus if vcpu.index in earlier)


def _vcpu(before: VcpuCount, now: VcpuCount, passed: float) -> VcpuRate:
    waited = _part(before.waited_ns, now.waited_ns, passed)
    # The kernel counts from tick to tick: a thread that never rests may seem to have run a little too long.
    used = min(1.0, grown(before.ran_ns, now.ran_ns) / _NS / passed)
    return VcpuRate(now.index, used, None if waited is None else min(1.0, waited), now.cpu)


def _card(before: CardCount, now: CardCount, passed: float) -> CardRate:
    return CardRate(
        now.index,
        grown(before.rx_bytes, now.rx_bytes) / passed,
        grown(before.rx_packets, now.rx_packets) / passed,
        grown(before.tx_bytes, now.tx_bytes) / passed,
        grown(before.tx_packets, now.tx_packets) / passed,
    )


def _disks(samples: Sequence[Sample], since_s: float) -> tuple[tuple[DiskRate, ...], float]:
    """From the newest answer and the newest that is as old as ``since_s``, or the oldest that there is."""
    now = samples[-1].count.told
    if now is None:
        return (), 0.0
    base: Told | None = None
    for sample in reversed(samples):
        told = sample.count.told
        if told is not None and now.at_s - told.at_s >= LEAST_S:
            base = told
            if told.at_s <= since_s:
                break
    if base is None:
        return (), 0.0
    passed = now.at_s - base.at_s
    earlier = {disk.vdev: disk for disk in base.disks}
    found = tuple(_disk(earlier[disk.vdev], disk, passed) for disk in now.disks if disk.vdev in earlier)
    return found, passed


def _disk(before: DiskCount, now: DiskCount, passed: float) -> DiskRate:
    return DiskRate(
        now.vdev,
        grown(before.reads, now.reads) / passed,
        grown(before.writes, now.writes) / passed,
        grown(before.flushes, now.flushes) / passed,
        grown(before.read_bytes, now.read_bytes) / passed,
        grown(before.written_bytes, now.written_bytes) / passed,
        grown(before.busy_ns, now.busy_ns) / _NS / passed,
    )
