"""The distributor: vCPUs go where there is room, it is said why, and while it only advises nothing moves."""

from __future__ import annotations

import builtins
import io
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wirt.hypervisors.qemu.vcpu_threads import QemuVcpuThreads
from wirt.model.accounting import RunCount, Sample, VcpuCount
from wirt.operations.affinity import pin
from wirt.operations.distribution import PERIOD_S, CountedGuest, distribute_once, measure
from wirt.operations.placement import Distribution, Placement, Reach
from wirt.operations.reconcile.scheduling import SchedulingLoop
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
    """After each pass of the accounting, as the daemon does."""
    for _ in range(count):
        host.environment.accounting.take()
        await host.environment.accounting.ask()
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


async def taken_over(host: SimulatedHost, mode: Distribution, reach: Reach) -> None:
    """Another daemon, whose first look at its runs comes before anything of them has been counted."""
    await host.crash()
    await host.boot()
    turn(host, mode, reach)
    await lay(host.environment)


@pytest.mark.parametrize("reach", Reach)
async def test_another_daemons_distributor_leaves_vcpus_where_the_earlier_one_had_them(
    host: SimulatedHost, told: list[dict[str, Any]], reach: Reach
) -> None:
    turn(host, Distribution.ON, reach)
    threads = [await busy(host, f"g{number}") for number in range(4)]
    await periods(host, 8)
    before = [host.threads.affinity(thread) for thread in threads]
    assert all(place is not None and place < host.processors.online() for place in before)
    for _ in range(2):
        await taken_over(host, Distribution.ON, reach)
        assert [host.threads.affinity(thread) for thread in threads] == before, "not even for a moment"
        await periods(host, 20)
        assert [host.threads.affinity(thread) for thread in threads] == before


async def test_what_a_distributor_left_is_given_up_where_it_is_off_or_pins_say_otherwise(
    host: SimulatedHost,
) -> None:
    turn(host, Distribution.ON)
    threads = [await busy(host, name) for name in ("web", "mail")]
    await periods(host, 8)
    await taken_over(host, Distribution.ON, Reach.CPU)
    elsewhere = host.processors.online() - (host.threads.affinity(threads[0]) or set())
    await pin(host.environment, "web", "all", ",".join(map(str, elsewhere)))
    assert host.threads.affinity(threads[0]) == elsewhere
    await taken_over(host, Distribution.OFF, Reach.CPU)
    assert host.threads.affinity(threads[1]) == host.processors.online()


READING = (
    (builtins, "open"),
    (io, "open"),
    *((os, name) for name in ("open", "read", "pread", "listdir", "scandir", "readlink")),
)


@contextmanager
def reading() -> Iterator[list[str]]:
    """What this process reads meanwhile, in whatever way Python has for it."""
    done: list[str] = []

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            done.append(f"{name} {arguments[:1]}")
            return function(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for module, name in READING:
            patch.setattr(module, name, noted(name, getattr(module, name)))
        yield done


class RealThreads(QemuVcpuThreads):
    """Those of real processes, in the place of a fake guest's."""

    def __init__(self, of: Mapping[UUID, Mapping[int, int]]) -> None:
        super().__init__(cast(Any, SimpleNamespace()))
        self._of = of

    async def of(self, domain: UUID) -> Mapping[int, int]:
        return self._of[domain]


@pytest.fixture
def process() -> Iterator[int]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


async def test_the_distributor_reads_no_file_by_itself(host: SimulatedHost, process: int) -> None:
    turn(host, Distribution.ON)
    await busy(host, "web")
    domain = host.environment.domains.find("web")
    host.processors.caches = (tuple(sorted(os.sched_getaffinity(0))),)
    host.environment.scheduling.threads = RealThreads({domain.uuid: {0: process}})
    for _ in range(3):
        host.environment.accounting.take()
        await host.environment.accounting.ask()
        with reading() as read:
            await distribute_once(host.environment)
        assert read == []
        await host.clock.advance(PERIOD_S)
    seat = host.environment.scheduling.placement.seat(domain.uuid, 0)
    assert seat.home is not None and seat.used > 0.3, "it was distributed all the same"
    with reading() as read:
        Path("/proc/self/stat").read_text()
    assert read, "what is read is seen"


async def test_a_guest_is_distributed_once_it_was_counted(host: SimulatedHost) -> None:
    turn(host, Distribution.ON)
    await busy(host, "web")
    host.environment.accounting.take()
    assert await distribute_once(host.environment) == (), "which vCPUs it has nobody has asked yet"
    await host.environment.accounting.ask()
    host.environment.accounting.take()
    assert len(await distribute_once(host.environment)) == 1
    seat = host.environment.scheduling.placement.seat(host.environment.domains.find("web").uuid, 0)
    rested = seat.rested
    await distribute_once(host.environment)
    assert seat.rested == rested, "one pass is one period, however often it is looked at"


async def test_the_distributors_turn_comes_after_each_pass(
    host: SimulatedHost, told: list[dict[str, Any]]
) -> None:
    turn(host, Distribution.ON)
    await busy(host, "web")
    loop = SchedulingLoop(host.environment)
    await loop.start()
    await host.settle()
    assert told == []
    for _ in range(2):
        host.environment.accounting.take()
        await host.environment.accounting.ask()
        await host.settle()
    await loop.stop()
    assert [event["what"] for event in told] == ["moved"]


COUNTS = st.tuples(
    st.integers(0, 3_000_000_000),
    st.one_of(st.none(), st.integers(0, 3_000_000_000)),
    st.one_of(st.none(), st.integers(0, 7)),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(COUNTS, min_size=1, max_size=6))
def test_whatever_is_counted_a_vcpu_ran_and_waited_a_part_of_the_time(
    counts: list[tuple[int, int | None, int | None]],
) -> None:
    """Counters may begin anew, and a kernel may not count waiting."""
    placement, uuid = Placement(), UUID(int=1)
    domain = cast(Any, SimpleNamespace(uuid=uuid))
    for at_s, (ran_ns, waited_ns, cpu) in enumerate(counts):
        vcpus = (VcpuCount(0, ran_ns, waited_ns, cpu),)
        sample = Sample(float(at_s), RunCount("run", vcpus, ran_ns, 0, 0, 0))
        used = measure(placement, {"web": CountedGuest(domain, {0: 1}, sample)})
        seat = placement.seat(uuid, 0)
        assert 0 <= seat.used <= 1 and 0 <= seat.waited <= 1
        assert all(0 <= part <= 1 for part in used.values())
        assert used.keys() <= {cpu}
