"""The threads of vCPUs in memory: numbered after their guest's run, they remember where they may be."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from wirt.hypervisors.fake.driver import FakeHypervisor
from wirt.hypervisors.fake.faults import Verb
from wirt.hypervisors.fake.guest import FakeGuest
from wirt.model.cpulists import list_text
from wirt.model.errors import Unavailable


class FakeVcpuThreads:
    """``online`` are the machine's CPUs, to be changed by whoever takes one away."""

    def __init__(self, hypervisor: FakeHypervisor, cpus: int = 4) -> None:
        self._hypervisor = hypervisor
        self._world = hypervisor.world
        self.online = frozenset(range(cpus))
        self._guests: dict[int, FakeGuest] = {}

    async def of(self, domain: UUID) -> Mapping[int, int]:
        async with self._hypervisor.reach(Verb.VCPUS, domain) as guest:
            found = {index: guest.thread(index) for index in range(guest.vcpus)}
            self._guests.update(dict.fromkeys(found.values(), guest))
            return found

    def affinity(self, thread: int) -> frozenset[int] | None:
        guest = self._guests.get(thread)
        if guest is None or guest.gone:
            return None
        return self._world.affinity.get(thread, self.online)

    def pin(self, thread: int, cpus: frozenset[int]) -> None:
        if not cpus & self.online:
            raise Unavailable(f"a vCPU can't be kept to the CPUs {list_text(cpus)}", hint="they are offline")
        if self.affinity(thread) is not None:
            self._world.affinity[thread] = cpus & self.online
