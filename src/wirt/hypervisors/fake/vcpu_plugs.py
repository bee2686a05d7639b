"""vCPUs that are plugged into guests in memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING
from uuid import UUID

from wirt.hypervisors.fake.faults import Verb
from wirt.model.errors import IllegalState

if TYPE_CHECKING:
    from wirt.hypervisors.fake.guest import FakeGuest

Reach = Callable[[Verb, UUID], AbstractAsyncContextManager["FakeGuest"]]


class FakeVcpuPlugs:
    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def present(self, domain: UUID) -> int:
        async with self._reach(Verb.VCPUS, domain) as guest:
            return guest.vcpus

    async def plug(self, domain: UUID, count: int) -> int:
        async with self._reach(Verb.PLUG_VCPUS, domain) as guest:
            if count > guest.plan.maxvcpus:
                raise IllegalState(f"{guest.name} has places for {guest.plan.maxvcpus} vCPUs, not {count}")
            if count > guest.vcpus:
                guest.plug_vcpus(count)
            return guest.vcpus
