"""What domains use as wire types."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from wirt.model.accounting import CardCount, DiskCount, HostSample, Sample, VcpuCount
from wirt.model.domain import Domain
from wirt.model.lifecycle import State, flags
from wirt.model.units import MIB
from wirt.operations.accounting import EVERY_S
from wirt.operations.environment import Environment
from wirt.plan.accounting import CardRate, DiskRate, Rates, VcpuRate, rates, series
from wirt.ports.machine import MachineNow
from wirt.wire import v1_stats as wire

_NS = 1e9


def domain(environment: Environment, of: Domain, over_s: float, history: int) -> wire.DomainStats:
    """``history``: so many samples of the last, or none."""
    samples = environment.accounting.of(of.uuid)
    maximum = of.config.memory_mib * MIB
    usage = environment.hypervisor.usage(of.uuid) if of.incarnation is not None else None
    plain = wire.DomainStats(
        name=of.name,
        uuid=str(of.uuid),
        domid=of.domid,
        state=str(of.state),
        flags=flags(of.state, blocked=usage.blocked if usage else False),
        vcpus_count=of.config.vcpus,
        cpu_time_s=round(usage.cpu_time_s, 2) if usage else 0.0,
        memory_bytes=maximum if of.incarnation is not None else 0,
        max_memory_bytes=maximum,
    )
    return plain if not samples else _sampled(plain, samples, over_s, history)


def _sampled(plain: wire.DomainStats, samples: Sequence[Sample], over_s: float, history: int) -> wire.DomainStats:
    now, rate = samples[-1], rates(samples, over_s)
    count, told = now.count, now.count.told
    steal = [vcpu.waited_ns for vcpu in count.vcpus if vcpu.waited_ns is not None]
    balloon = None if told is None else told.balloon_bytes
    by_vcpu = {} if rate is None else {each.index: each for each in rate.vcpus}
    by_card = {} if rate is None else {each.index: each for each in rate.cards}
    by_disk = {} if rate is None else {each.vdev: each for each in rate.disks}
    return wire.DomainStats(
        name=plain.name,
        uuid=plain.uuid,
        domid=plain.domid,
        state=plain.state,
        flags=plain.flags,
        vcpus_count=plain.vcpus_count,
        cpu_time_s=round(count.total_ns / _NS, 2),
        # A guest has a little more than was asked for, to make its memory fit a migration.
        memory_bytes=plain.memory_bytes if balloon is None else min(balloon, plain.memory_bytes),
        max_memory_bytes=plain.max_memory_bytes,
        sampled=True,
        run=count.run,
        resident_bytes=count.resident_bytes,
        balloon_bytes=balloon,
        steal_s=_seconds(sum(steal)) if steal else None,
        emulator_time_s=_seconds(count.emulator_ns),
        emulator_wait_s=_seconds(count.emulator_waited_ns),
        over_s=None if rate is None else round(rate.over_s, 3),
        cpu_percent=None if rate is None else _percent(rate.cpu),
        steal_percent=None if rate is None else _percent(rate.waited),
        emulator_percent=None if rate is None else _percent(rate.emulator),
        emulator_wait_percent=None if rate is None else _percent(rate.emulator_waited),
        disks_over_s=round(rate.disks_over_s, 3) if rate is not None and rate.disks_over_s else None,
        vcpus=[_vcpu(each, by_vcpu.get(each.index)) for each in count.vcpus],
        disks=[_disk(each, by_disk.get(each.vdev)) for each in (told.disks if told is not None else ())],
        nets=[_net(each, by_card.get(each.index)) for each in now.cards],
        history=_history(samples, history) if history else None,
    )


def zero(
    environment: Environment, now: MachineNow, guests: Sequence[wire.DomainStats], over_s: float
) -> wire.DomainStats:
    """The host itself: what it has and does, and its guests do not."""
    taken = sum(guest.memory_bytes for guest in guests)
    used = sum(guest.cpu_time_s for guest in guests)
    whole = _host_cpus(environment.accounting.host, over_s)
    theirs = sum(guest.cpu_percent or 0.0 for guest in guests)
    memory = max(0, now.memory_bytes - taken)
    return wire.DomainStats(
        name="Domain-0",
        uuid=str(UUID(int=0)),
        domid=0,
        state=str(State.RUNNING),
        flags="r-----",
        vcpus_count=now.cpus,
        cpu_time_s=round(max(0.0, now.cpu_time_s - used), 2),
        memory_bytes=memory,
        max_memory_bytes=memory,
        cpu_percent=None if whole is None else round(max(0.0, 100 * whole - theirs), 2),
    )


def host(environment: Environment, now: MachineNow, over_s: float) -> wire.HostStats:
    samples = environment.accounting.host
    whole = _host_cpus(samples, over_s)
    return wire.HostStats(
        name=environment.machine.name,
        cpus=now.cpus,
        memory_bytes=now.memory_bytes,
        available_bytes=now.available_bytes,
        cpu_percent=None if whole is None else _percent(whole),
        each_cpu=_each(samples, over_s),
    )


def all_of(
    environment: Environment, domains: Sequence[Domain], with_zero: bool, over_s: float, history: int
) -> wire.StatsList:
    now = environment.accounting.machine or environment.machine.now()
    found = [domain(environment, each, over_s, history) for each in domains]
    samples = environment.accounting.host
    age = environment.clock.monotonic() - samples[-1].at_s if samples else 0.0
    if with_zero:
        found.insert(0, zero(environment, now, found, over_s))
    taken_at = round(environment.clock.now() - age, 3)
    return wire.StatsList(found, host(environment, now, over_s), taken_at, EVERY_S)


def _vcpu(count: VcpuCount, rate: VcpuRate | None) -> wire.VcpuStats:
    return wire.VcpuStats(
        count.index,
        count.cpu,
        round(count.ran_ns / _NS, 3),
        _seconds(count.waited_ns),
        None if rate is None else _percent(rate.used),
        None if rate is None else _percent(rate.waited),
    )


def _disk(count: DiskCount, rate: DiskRate | None) -> wire.DiskStats:
    counted = (count.reads, count.writes, count.flushes, count.read_bytes, count.written_bytes)
    busy_s = round(count.busy_ns / _NS, 3)
    if rate is None:
        return wire.DiskStats(count.vdev, *counted, busy_s)
    per_s = (rate.reads, rate.writes, rate.flushes, rate.read_bytes, rate.written_bytes, rate.in_flight)
    return wire.DiskStats(count.vdev, *counted, busy_s, *(round(each, 3) for each in per_s))


def _net(count: CardCount, rate: CardRate | None) -> wire.NetStats:
    received = (count.rx_bytes, count.rx_packets, count.rx_dropped)
    counted = (*received, count.tx_bytes, count.tx_packets, count.tx_dropped)
    if rate is None:
        return wire.NetStats(count.index, *counted)
    per_s = (rate.rx_bytes, rate.rx_packets, rate.tx_bytes, rate.tx_packets)
    return wire.NetStats(count.index, *counted, *(round(each, 3) for each in per_s))


def _history(samples: Sequence[Sample], most: int) -> wire.History:
    found = series(samples)[-most:]
    newest = samples[-1].at_s
    return wire.History(
        age_s=[round(newest - at_s, 3) for at_s, _ in found],
        cpu_percent=[round(100 * rate.cpu, 2) for _, rate in found],
        steal_percent=[_percent(rate.waited) for _, rate in found],
        net_bytes_per_s=[round(sum(each.rx_bytes + each.tx_bytes for each in rate.cards), 1) for _, rate in found],
        disk_bytes_per_s=[_disk_bytes(rate) for _, rate in found],
    )


def _disk_bytes(rate: Rates) -> float | None:
    return (
        round(sum(disk.read_bytes + disk.written_bytes for disk in rate.disks), 1) if rate.disks_over_s else None
    )


def _host_cpus(samples: Sequence[HostSample], over_s: float) -> float | None:
    base = _base(samples, over_s)
    if base is None:
        return None
    return max(0.0, samples[-1].cpu_time_s - base.cpu_time_s) / (samples[-1].at_s - base.at_s)


def _each(samples: Sequence[HostSample], over_s: float) -> list[wire.CpuStats]:
    base = _base(samples, over_s)
    if base is None:
        return []
    before, passed = dict(base.each_cpu_time_s), samples[-1].at_s - base.at_s
    return [
        wire.CpuStats(cpu, round(100 * min(1.0, max(0.0, time_s - before[cpu]) / passed), 2))
        for cpu, time_s in samples[-1].each_cpu_time_s
        if cpu in before
    ]


def _base(samples: Sequence[HostSample], over_s: float) -> HostSample | None:
    older = [sample for sample in samples[:-1] if sample.at_s < samples[-1].at_s]
    wide = [sample for sample in older if samples[-1].at_s - sample.at_s >= over_s]
    return wide[-1] if wide else (older[0] if older else None)


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else round(ns / _NS, 3)


def _percent(part: float | None) -> float | None:
    return None if part is None else round(100 * part, 2)
