"""What simulations and tests rely on in the clock that moves only when told to."""

from __future__ import annotations

import asyncio

import pytest

from wirt.ports.clock import Clock, SystemClock
from wirt.ports.virtual_clock import VirtualClock, settle


async def test_time_stands_still_until_it_is_advanced() -> None:
    clock = VirtualClock(epoch=1000.0)
    await asyncio.sleep(0.001)
    assert (clock.now(), clock.monotonic()) == (1000.0, 0.0)

    await clock.advance(2.5)

    assert (clock.now(), clock.monotonic()) == (1002.5, 2.5)


async def test_sleepers_wake_in_the_order_of_their_ends_each_at_its_own_time() -> None:
    clock = VirtualClock()
    woken = []

    async def sleeper(seconds: float, name: str) -> None:
        await clock.sleep(seconds)
        woken.append((clock.monotonic(), name))

    tasks = [asyncio.create_task(sleeper(s, n)) for s, n in ((3, "c"), (1, "a"), (3, "d"), (2, "b"), (9, "e"))]

    await clock.advance(5)

    assert woken == [(1, "a"), (2, "b"), (3, "c"), (3, "d")]
    assert clock.next_wake() == 9
    tasks[-1].cancel()
    await asyncio.wait(tasks)
    assert clock.next_wake() is None


async def test_who_sleeps_again_is_woken_again_in_the_same_advance() -> None:
    clock = VirtualClock()
    ticks = []

    async def ticker() -> None:
        while True:
            await clock.sleep(0.1)
            ticks.append(clock.monotonic())

    task = asyncio.create_task(ticker())
    await clock.advance(1)
    task.cancel()

    assert len(ticks) == 10
    assert ticks[-1] == 1.0


async def test_ten_tenths_of_a_second_are_a_second() -> None:
    clock = VirtualClock()
    sleeping = asyncio.create_task(clock.sleep(1))
    for _ in range(9):
        await clock.advance(0.1)
    assert not sleeping.done()

    await clock.advance(0.1)

    assert sleeping.done()


async def test_a_woken_task_has_had_its_turn_before_the_next_wakes() -> None:
    clock = VirtualClock()
    seen = []

    async def long_chain() -> None:
        await clock.sleep(1)
        for _ in range(500):
            await asyncio.sleep(0)
        seen.append(clock.monotonic())

    async def second() -> None:
        await clock.sleep(1.5)
        seen.append(clock.monotonic())

    async with asyncio.TaskGroup() as group:
        group.create_task(second())
        group.create_task(long_chain())
        await clock.advance(2)

    assert seen == [1.0, 1.5]


async def test_sleeping_for_no_time_only_gives_way() -> None:
    clock = VirtualClock()
    await clock.sleep(0)
    await clock.sleep(-1)
    assert clock.monotonic() == 0


async def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="back"):
        await VirtualClock().advance(-1)


async def test_only_one_task_may_advance_a_clock() -> None:
    clock = VirtualClock()
    first = asyncio.create_task(clock.advance(1))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task"):
        await clock.advance(1)
    await first


async def test_tasks_that_never_rest_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wirt.ports.virtual_clock._TOO_BUSY", 100)

    async def restless() -> None:
        for _ in range(1000):
            await asyncio.sleep(0)

    task = asyncio.create_task(restless())
    with pytest.raises(RuntimeError, match="did not come to rest"):
        await settle()
    task.cancel()


@pytest.mark.parametrize("clock", [SystemClock(), VirtualClock()], ids=["system", "virtual"])
async def test_every_clock_starts_with_a_plausible_date(clock: Clock) -> None:
    assert clock.now() > 1_700_000_000
    assert clock.monotonic() >= 0
    await clock.sleep(-1)


async def test_the_system_clock_sleeps_at_least_as_long_as_asked() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.01)
    assert clock.monotonic() - before >= 0.009
