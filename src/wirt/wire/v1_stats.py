"""Wire types of what domains use; as in :mod:`wirt.wire.v1`, fields are only ever added.

Percentages are of one CPU: two vCPUs that run all the time make 200. Rates are ``None`` until there are two
samples of the run that is there now.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class VcpuStats:
    """``steal_s``: ready to run, and without a CPU; ``None`` where the host's kernel does not count it. ``cpu`` is
    the host's CPU that it ran on last."""

    index: int
    cpu: int | None
    cpu_time_s: float
    steal_s: float | None
    cpu_percent: float | None = None
    steal_percent: float | None = None


@dataclass(frozen=True, slots=True)
class DiskStats:
    """``busy_s``: what all requests took, each for itself; ``in_flight``: how many there were at a time."""

    vdev: str
    reads: int
    writes: int
    flushes: int
    read_bytes: int
    written_bytes: int
    busy_s: float
    reads_per_s: float | None = None
    writes_per_s: float | None = None
    flushes_per_s: float | None = None
    read_bytes_per_s: float | None = None
    written_bytes_per_s: float | None = None
    in_flight: float | None = None


@dataclass(frozen=True, slots=True)
class NetStats:
    """As the guest sees it: ``rx`` is what it was sent. Cards without a tap are not counted, and not here."""

    index: int
    rx_bytes: int
    rx_packets: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_dropped: int
    rx_bytes_per_s: float | None = None
    rx_packets_per_s: float | None = None
    tx_bytes_per_s: float | None = None
    tx_packets_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class History:
    """One value for each sample, the oldest first; ``age_s`` counts back from the newest. Where something is not
    known it is ``None``."""

    age_s: list[float]
    cpu_percent: list[float]
    steal_percent: list[float | None]
    net_bytes_per_s: list[float]
    disk_bytes_per_s: list[float | None]


@dataclass(frozen=True, slots=True)
class DomainStats:
    """One domain, since its run began. ``cpu_time_s`` is all of its hypervisor process; ``emulator_time_s`` the
    part of it that no vCPU did. ``memory_bytes`` is what the guest has, less what its balloon took;
    ``resident_bytes`` what that takes of the host. Rates are over ``over_s``, those of disks over
    ``disks_over_s``. ``sampled``: without a sample of it (Domain-0 has none; a run that has just begun) only what
    is known all the same is here. ``run`` is another word for each run: with it all counters begin anew."""

    name: str
    uuid: str
    domid: int | None
    state: str
    flags: str
    vcpus_count: int
    cpu_time_s: float
    memory_bytes: int
    max_memory_bytes: int
    sampled: bool = False
    run: str | None = None
    resident_bytes: int | None = None
    balloon_bytes: int | None = None
    steal_s: float | None = None
    emulator_time_s: float | None = None
    emulator_wait_s: float | None = None
    over_s: float | None = None
    cpu_percent: float | None = None
    steal_percent: float | None = None
    emulator_percent: float | None = None
    emulator_wait_percent: float | None = None
    disks_over_s: float | None = None
    vcpus: list[VcpuStats] = field(default_factory=list)
    disks: list[DiskStats] = field(default_factory=list)
    nets: list[NetStats] = field(default_factory=list)
    history: History | None = None


@dataclass(frozen=True, slots=True)
class CpuStats:
    """One of the host's, by its number."""

    cpu: int
    cpu_percent: float


@dataclass(frozen=True, slots=True)
class HostStats:
    """``cpu_percent``: all that the host works, guests included; ``each_cpu`` the same of each CPU."""

    name: str
    cpus: int
    memory_bytes: int
    available_bytes: int
    cpu_percent: float | None = None
    each_cpu: list[CpuStats] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StatsList:
    """``domains`` in the order of their domids. ``time`` is when the newest sample was taken, in seconds since the
    epoch; there is one every ``every_s``."""

    domains: list[DomainStats]
    host: HostStats
    time: float
    every_s: float
    api: str = VERSION
