"""The port for counters, in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from wirt.hypervisors.fake.faults import Verb
from wirt.model.accounting import DiskCount, RunCount, Told, VcpuCount
from wirt.model.errors import WirtError
from wirt.model.units import MIB

if TYPE_CHECKING:
    from wirt.hypervisors.fake.driver import FakeHypervisor
    from wirt.hypervisors.fake.guest import FakeGuest

_NS = 1_000_000_000


@dataclass(slots=True)
class FakeCounts:
    """What a guest is to have counted beside its CPU time, for tests to set: ``waited_s`` of each vCPU, and what
    each disk was asked for, by its vdev (nothing where it is absent)."""

    waited_s: float = 0.0
    emulator_s: float = 0.0
    cpu: int | None = None
    disks: dict[str, DiskCount] = field(default_factory=dict)
    balloon_bytes: int | None = None


class FakeCounters:
    """Of the guests of one driver."""

    def __init__(self, hypervisor: FakeHypervisor) -> None:
        self._hypervisor = hypervisor
        self._told: dict[int, Told] = {}

    def read(self) -> Mapping[UUID, RunCount]:
        self._hypervisor.check_alive()
        runs = {key: guest for key, guest in self._hypervisor.runs.items() if not guest.gone}
        numbers = {guest.number for guest in runs.values()}
        self._told = {number: told for number, told in self._told.items() if number in numbers}
        return {key: self._count(guest) for key, guest in runs.items()}

    async def ask(self, domains: Collection[UUID]) -> None:
        for domain in domains:
            # As the real one: what it told before stays.
            with contextlib.suppress(WirtError):
                async with self._hypervisor.reach(Verb.COUNTERS, domain) as guest:
                    self._told[guest.number] = self._tell(guest)

    def close(self) -> None:
        """Nothing is open."""

    def _tell(self, guest: FakeGuest) -> Told:
        counted = guest.counted
        disks = tuple(counted.disks.get(vdev, DiskCount(vdev, 0, 0, 0, 0, 0, 0)) for vdev in guest.disks.all())
        left = guest.memory_mib * MIB if counted.balloon_bytes is None else counted.balloon_bytes
        return Told(self._hypervisor.world.clock.monotonic(), disks, left)

    def _count(self, guest: FakeGuest) -> RunCount:
        counted, told = guest.counted, self._told.get(guest.number)
        ran_ns, emulator_ns = int(guest.cpu_time_s * _NS), int(counted.emulator_s * _NS)
        each = VcpuCount(0, ran_ns // guest.vcpus, int(counted.waited_s * _NS), counted.cpu)
        vcpus = () if told is None else tuple(self._seated(each, guest, index) for index in range(guest.vcpus))
        return RunCount(
            run=str(guest.number),
            vcpus=vcpus,
            total_ns=ran_ns + emulator_ns,
            emulator_ns=emulator_ns if vcpus else None,
            emulator_waited_ns=0,
            resident_bytes=guest.memory_mib * MIB if told is not None else 0,
            told=told,
        )

    def _seated(self, count: VcpuCount, guest: FakeGuest, index: int) -> VcpuCount:
        """Where nobody has said it, each is on a CPU of its own among those that it may be on."""
        may = sorted(self._hypervisor.world.affinity.get(guest.thread(index), ()))
        cpu = may[index % len(may)] if may else index
        return VcpuCount(index, count.ran_ns, count.waited_ns, cpu if count.cpu is None else count.cpu)
