"""The distributor: vCPUs go where there is room, it is said why, and while it only advises nothing moves."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from wirt.operations.distribution import PERIOD_S, distribute_once
from wirt.operations.placement import Distribution, Reach
from wirt.operations.scheduling import lay, mechanism

from .kit import SimulatedHost
from .scheduling_kit import host

__all__ = ["host"]


def turn(host: SimulatedHost, mode: Distribution, reach: Reach = Reach.CPU) -> None:
    host.environment.scheduling.placement.mode = mode
    host.environment.scheduling.placement.reach = reach


async def busy(host: SimulatedHost, name: str, more: str = "") -> int:
    """The thread of a guest that keeps its vCPU busy."""
    await host.create(more, name=name)
    domain = host.environment.domains.find(name)
    host.world.guest(domain.uuid).load = 1.0
    return (await host.threads.of(domain.uuid))[0]


async def periods(host: SimulatedHost, count: int) -> None:
    for _ in range(count):
        await distribute_once(host.environment)
        await host.clock.advance(PERIOD_S)


@pytest.fixture
def told(host: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is told of scheduling, as it comes."""
    heard: list[dict[str, Any]] = []
    publish = host.environment.bus.publish

    def listen(kind: str, domain: str | None, uuid: UUID | None, data: dict[str, Any]) -> None:
        if kind == "scheduling":
            heard.append(data)
        publish(kind, domain, uuid, data)

    monkeypatch.setattr(host.environment.bus, "publish", listen)
    return heard


async def test_as_many_busy_vcpus_as_cpus_have_one_each(host: SimulatedHost, told: list[dict[str, Any]]) -> None:
    turn(host, Distribution.ON)
    threads = [await busy(host, f"g{number}") for number in range(4)]
    await periods(host, 8)
    places = [host.threads.affinity(thread) for thread in threads]
    assert sorted(cpu for place in places for cpu in place or ()) == [0, 1, 2, 3]
    before = len(told)
    await periods(host, 20)
    assert len(told) == before, "with steady demand moves come to an end"


async def test_each_move_is_told_with_its_reason(host: SimulatedHost, told: list[dict[str, Any]]) -> None:
    turn(host, Distribution.ON)
    await busy(host, "web")
    await periods(host, 2)
    (event,) = told
    assert event["what"] == "moved" and event["cpus"] == str(event["target"]) and event["reason"]


async def test_pins_hold_and_soft_ones_are_followed(host: SimulatedHost) -> None:
    turn(host, Distribution.ON)
    pinned = await busy(host, "web", 'cpus = "3"')
    soft = await busy(host, "mail", 'cpus_soft = "node:1"')
    await periods(host, 8)
    assert (host.threads.affinity(pinned), host.threads.affinity(soft)) == (frozenset({3}), frozenset({2}))


async def test_a_cache_is_left_to_the_kernels_scheduler(host: SimulatedHost) -> None:
    turn(host, Distribution.ON, Reach.CACHE)
    threads = [await busy(host, name) for name in ("web", "mail")]
    await periods(host, 8)
    assert {host.threads.affinity(thread) for thread in threads} <= {frozenset({0, 1}), frozenset({2, 3})}


async def test_advice_moves_nothing_and_is_given_once(host: SimulatedHost, told: list[dict[str, Any]]) -> None:
    turn(host, Distribution.ADVISING)
    threads = [await busy(host, name) for name in ("web", "mail")]
    await periods(host, 8)
    assert {host.threads.affinity(thread) for thread in threads} == {frozenset({0, 1, 2, 3})}
    advice = [(each["what"], each["vcpu"], each["target"]) for each in told]
    assert advice and {each[0] for each in advice} == {"advice"} and len(advice) <= 2


async def test_off_asks_nobody(host: SimulatedHost, told: list[dict[str, Any]]) -> None:
    await busy(host, "web")
    await periods(host, 3)
    assert told == [] and host.environment.scheduling.placement.seats == {}


async def test_domain_0_keeps_its_cpus(host: SimulatedHost) -> None:
    host.environment.scheduling.placement.reserved = "0-2"
    thread = await busy(host, "web")
    assert host.threads.affinity(thread) == frozenset({3})
    assert "no guest on the CPUs 0-2" in mechanism(host.environment)


async def test_a_cpu_that_goes_offline_is_left(host: SimulatedHost, told: list[dict[str, Any]]) -> None:
    turn(host, Distribution.ON)
    threads = [await busy(host, name) for name in ("web", "mail")]
    await periods(host, 4)
    gone = min(host.threads.affinity(threads[0]) or ())
    host.processors.offline = (gone,)
    host.threads.online -= {gone}
    await periods(host, 2)
    await lay(host.environment)
    assert gone not in (host.threads.affinity(threads[0]) or {gone})
    assert "offline" in told[-1]["reason"]
