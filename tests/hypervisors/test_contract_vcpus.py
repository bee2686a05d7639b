"""vCPUs that are plugged into guests that run: used, left unused, and the same wherever the guest goes on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from wirt.model.errors import HypervisorError, IllegalState, WirtError
from wirt.ports.guest_agent import LISTS_VCPUS, SETS_VCPUS

from .conftest import FAKE, OLD_LONG
from .rigs import Rig, Started
from .test_contract_agent import booted
from .test_contract_migration import Journey, Pair, pair
from .test_contract_vcpu_threads import threads_of

__all__ = ["pair"]

WITHIN_S = 90.0
QEMU_LONG = pytest.param("qemu", marks=(pytest.mark.real, pytest.mark.long))
"""What is quick of it is in tests/system/test_vcpus.py."""
every_driver = pytest.mark.parametrize("rig", [FAKE, QEMU_LONG, OLD_LONG], indirect=True)
every_pair = pytest.mark.parametrize(
    "pair",
    [
        FAKE,
        pytest.param("qemu qemu", marks=(pytest.mark.real, pytest.mark.long)),
        pytest.param("qemu-7.2 qemu", marks=(pytest.mark.real, pytest.mark.long)),
        pytest.param("qemu-7.2 qemu-7.2", marks=(pytest.mark.real, pytest.mark.long)),
    ],
    indirect=True,
)


async def used(rig: Rig, domain: UUID) -> set[int]:
    return {each.number for each in await rig.hypervisor.agents.vcpus(domain) if each.online}


async def use(rig: Rig, domain: UUID, numbers: set[int]) -> None:
    """Once the guest has found them all, whether it brings them up by itself or not."""
    async with asyncio.timeout(WITHIN_S):
        while not numbers <= {each.number for each in await rig.hypervisor.agents.vcpus(domain)}:
            await asyncio.sleep(0.1)
    known = {each.number for each in await rig.hypervisor.agents.vcpus(domain)}
    await rig.hypervisor.agents.set_vcpus(domain, {each: each in numbers for each in known if each > 0})
    assert await used(rig, domain) == numbers


async def with_room(rig: Rig, vcpus: int = 1) -> Started:
    config = replace(rig.config(vcpus=vcpus), maxvcpus=3)
    return await booted(rig, config)


@every_driver
async def test_a_guest_uses_what_is_plugged_in_and_leaves_unused_what_it_is_told_to(rig: Rig) -> None:
    started = await with_room(rig)
    domain, plugs, agents = started.domain, rig.hypervisor.vcpu_plugs, rig.hypervisor.agents
    assert {LISTS_VCPUS, SETS_VCPUS} <= (await agents.info(domain)).commands
    assert (await plugs.present(domain), await used(rig, domain)) == (1, {0})
    threads = threads_of(rig)
    (first,) = (await threads.of(domain)).values()
    assert await plugs.plug(domain, 2) == 2
    assert await plugs.plug(domain, 1) == 2, "there is no way back"
    await use(rig, domain, {0, 1})
    found = await threads.of(domain)
    assert sorted(found) == [0, 1] and found[0] == first != found[1]
    assert threads.affinity(found[1]) == threads.affinity(first)
    assert [each.index for each in await rig.hypervisor.vcpus(domain)] == [0, 1]
    await use(rig, domain, {0})
    assert await plugs.present(domain) == 2, "it is there, and unused"
    with pytest.raises(HypervisorError):
        await agents.set_vcpus(domain, {2: True})
    with pytest.raises(IllegalState, match="places for 3 vCPUs, not 4"):
        await plugs.plug(domain, 4)
    await rig.lose_daemon()
    await rig.hypervisor.adopt(started.incarnation, started.directory)
    plugs = rig.hypervisor.vcpu_plugs
    assert await plugs.present(domain) == 2
    assert await plugs.plug(domain, 3) == 3
    await use(rig, domain, {0, 1, 2})
    await rig.hypervisor.destroy(domain)
    with pytest.raises(IllegalState):
        await plugs.present(domain)


@every_pair
async def test_it_arrives_where_there_are_as_many_and_goes_on_with_more(pair: Pair) -> None:
    started = await with_room(pair.here)
    domain = started.domain
    await pair.here.hypervisor.vcpu_plugs.plug(domain, 3)
    await use(pair.here, domain, {0, 1})
    await pair.here.remember(started)
    as_many = replace(started, config=replace(started.config, vcpus=3))
    journey = await Journey.begin(pair, as_many)
    await journey.send()
    await journey.finish()
    await journey.arrive()
    assert (await pair.there.hypervisor.vcpu_plugs.present(domain), await used(pair.there, domain)) == (3, {0, 1})
    await use(pair.there, domain, {0, 1, 2})
    assert await pair.there.remembers(journey.there)


@every_pair
async def test_it_does_not_arrive_where_there_are_fewer_and_goes_on_here(pair: Pair) -> None:
    started = await with_room(pair.here)
    await pair.here.hypervisor.vcpu_plugs.plug(started.domain, 2)
    await use(pair.here, started.domain, {0, 1})
    await pair.here.remember(started)
    journey = await Journey.begin(pair, started)
    await journey.send()
    with pytest.raises(WirtError):
        await journey.finish()
    await journey.back()
    assert await used(pair.here, started.domain) == {0, 1}
