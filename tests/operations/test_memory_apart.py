"""Memory in huge pages is summed apart, held for good, and what KSM saves is counted nowhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wirt.model.errors import IllegalState
from wirt.model.memory import HugeMemory, HugePages, HugePool
from wirt.model.units import GIB
from wirt.operations import memory
from wirt.operations.memory_about import about
from wirt.operations.reconcile.memory import ON, MemoryLoop

from .kit import SimulatedHost
from .scheduling_kit import host, started

__all__ = ["host"]

POOL = HugePool(2048, 512, 512)


@pytest.fixture
def roomy(host: SimulatedHost) -> SimulatedHost:
    """With a GiB of huge pages, and a hypervisor that needs no padding."""
    host.host_memory.now = HugeMemory("madvise", (POOL,))
    host.world.facts = replace(host.world.facts, version=(10, 0, 2))
    return host


async def test_a_guest_in_huge_pages_is_in_a_sum_of_its_own(roomy: SimulatedHost) -> None:
    await started(roomy, "db", 'hugepages = "2M"')
    await started(roomy, "web")
    roomy.host_memory.now = HugeMemory("madvise", (replace(POOL, free=POOL.total - 64),))
    found = await memory.planned(roomy.environment)
    assert found.plan.holds.text == "Domain-0 256 + db 264 + web 392 = 912 <= 15360 MiB"
    (huge,) = found.huge
    assert huge.text == "db 128 = 128 <= 1024 MiB"
    assert [(each.huge, each.mib) for each in found.really] == [(HugePages.TWO_MIB, 128), (None, 128)]
    assert "left of those set aside: 448 of 512 of 2M" in about(roomy.environment)


async def test_what_is_set_aside_nobody_else_can_have(roomy: SimulatedHost) -> None:
    before = roomy.environment.host_facts().memory_bytes
    roomy.host_memory.now = HugeMemory("never", (replace(POOL, total=POOL.total * 2),))
    assert roomy.environment.host_facts().memory_bytes == before - GIB


async def test_its_balloon_is_left_alone(roomy: SimulatedHost) -> None:
    domain = await started(roomy, "db", 'hugepages = "2M"')
    with pytest.raises(IllegalState, match="huge pages of 2M"):
        await memory.set_memory(roomy.environment, "db", 100)
    balloon = roomy.world.guest(domain.uuid).balloon
    balloon.used = 10
    roomy.machine.available_bytes = 0
    await MemoryLoop(roomy.environment, ON).look()
    assert balloon.actual == 128


async def test_what_ksm_saves_is_told_and_counted_nowhere(host: SimulatedHost) -> None:
    host.environment.settings = replace(host.environment.settings, ksm=True)
    await started(host, "web")
    await started(host, "own", "mem_merge = 0")
    before = await memory.planned(host.environment)
    assert before.merged is None, "the kernel's is off"
    host.host_memory.merge(on=True)
    assert host.host_memory.ksm is not None
    host.host_memory.ksm = replace(host.host_memory.ksm, shared=100, sharing=25600)
    after = await memory.planned(host.environment)
    assert after.merged == 100 and after.plan == before.plan
    assert [each.merging for each in after.really] == [True, False]
