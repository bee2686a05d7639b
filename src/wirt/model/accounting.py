"""What a run has used, counted since it began: the kernel's, the hypervisor's and the network's own counters.

Times are in nanoseconds and only grow; a counter that is smaller than before has started anew.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VcpuCount:
    """``ran_ns`` on a CPU; ``waited_ns`` ready to run, with no CPU to run on (what its guest sees as steal), and
    ``None`` where the kernel does not count that. ``cpu`` is where it ran last."""

    index: int
    ran_ns: int
    waited_ns: int | None
    cpu: int | None


@dataclass(frozen=True, slots=True)
class DiskCount:
    """``busy_ns`` is the time that all its requests took, one by one: several at once count several times."""

    vdev: str
    reads: int
    writes: int
    flushes: int
    read_bytes: int
    written_bytes: int
    busy_ns: int


@dataclass(frozen=True, slots=True)
class CardCount:
    """As the guest sees it: ``rx`` is what it was sent."""

    index: int
    rx_bytes: int
    rx_packets: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_dropped: int


@dataclass(frozen=True, slots=True)
class Told:
    """What only the hypervisor knows, at ``at_s`` (by the host's monotonic clock). ``balloon_bytes``: what the
    balloon leaves the guest; ``None`` without a balloon."""

    at_s: float
    disks: tuple[DiskCount, ...] = ()
    balloon_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class RunCount:
    """One run. ``run`` tells it from others of the same domain. ``total_ns`` is all that its hypervisor process
    used; ``emulator_ns`` the part that no vCPU did (devices, disks, the display; ``None`` while it is not known
    which threads are vCPUs), ``emulator_waited_ns`` how long
    that process's main thread waited for a CPU. ``resident_bytes`` is the host's memory that it has taken.
    That and ``told`` may be older than the rest; ``told`` is ``None`` before the first answer."""

    run: str
    vcpus: tuple[VcpuCount, ...]
    total_ns: int
    emulator_ns: int | None
    emulator_waited_ns: int | None
    resident_bytes: int
    told: Told | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A run at ``at_s``, by the host's monotonic clock."""

    at_s: float
    count: RunCount
    cards: tuple[CardCount, ...] = ()


@dataclass(frozen=True, slots=True)
class HostSample:
    """The machine at ``at_s``: what it has worked in all, and each of its CPUs by number, in seconds."""

    at_s: float
    cpu_time_s: float
    each_cpu_time_s: tuple[tuple[int, float], ...] = ()
