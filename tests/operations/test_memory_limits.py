"""What a run may take follows its balloon, in an order in which nobody who keeps his word is killed for it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import wirt.operations
from wirt.hypervisors.fake import FakeGuest
from wirt.hypervisors.fake.balloon import FakeBalloon
from wirt.model.lifecycle import State
from wirt.model.units import MIB
from wirt.operations import memory
from wirt.operations.destroy import destroy
from wirt.operations.jobs.step import JobKind
from wirt.operations.memory_grants import free_limit
from wirt.operations.reconcile.memory import ON, MemoryLoop
from wirt.operations.reconcile.memory_limits import ASK_EVERY_S, LOOK_EVERY_S, MemoryLimitsLoop
from wirt.plan.memory_limit import GRACE_S, limit_for
from wirt.ports.balloons import Balloon

from .kit import SimulatedHost
from .scheduling_kit import host

__all__ = ["host"]

MOST, BESIDE = 512, 256 + 8
"""Of a guest with one vCPU: the fake hypervisor emulates nothing."""


class Bench:
    def __init__(self, host: SimulatedHost) -> None:
        self.host = host
        self.loop = MemoryLimitsLoop(host.environment)
        self.directory = self.guest.directory

    @property
    def guest(self) -> FakeGuest:
        return self.host.world.guest(self.host.environment.domains.find("web").uuid)

    @property
    def limit(self) -> int | None:
        found = self.host.memory_limits.limits.get(self.directory)
        return None if found is None else found // MIB

    async def hold(self, mib: int) -> None:
        job = await memory.set_memory(self.host.environment, "web", mib)
        await self.host.engine.wait(job.id)
        await self.host.settle()

    async def looks(self, count: int = 1) -> None:
        for _ in range(count):
            await self.loop.look()
            self.host.memory_limits.settle(self.directory)
            await self.host.clock.advance(LOOK_EVERY_S)
            await self.host.settle()

    @property
    def alive(self) -> bool:
        domain = self.host.environment.domains.named("web")
        return domain is not None and domain.state is State.RUNNING


@pytest.fixture
async def bench(host: SimulatedHost) -> Bench:
    await host.create(f"maxmem = {MOST}")
    return Bench(host)


async def test_a_guest_that_has_given_may_take_that_no_more(bench: Bench) -> None:
    await bench.looks()
    assert bench.limit == limit_for(128, MOST, BESIDE) < MOST + BESIDE


async def test_a_guest_that_has_all_that_it_can_have_is_not_asked(host: SimulatedHost) -> None:
    await host.create()
    bench = Bench(host)
    await bench.looks()
    assert bench.limit is None


async def test_it_is_raised_before_the_guest_takes_more_and_lowered_once_it_has_given(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.looks()
    seen, ask = [], FakeBalloon.ask

    def noted(balloon: FakeBalloon, mib: int) -> None:
        seen.append(bench.limit)
        ask(balloon, mib)

    monkeypatch.setattr(FakeBalloon, "ask", noted)
    await bench.hold(400)
    assert seen == [limit_for(400, MOST, BESIDE)]
    await bench.hold(200)
    assert bench.limit == limit_for(400, MOST, BESIDE), "what it gives it is still giving"
    await bench.looks()
    assert bench.limit == limit_for(200, MOST, BESIDE) and bench.alive


async def test_nothing_is_lowered_while_it_gives_in_its_own_time(bench: Bench) -> None:
    balloon = bench.guest.balloon
    balloon.actual, balloon.gives = 300, False
    await bench.looks(3)
    assert bench.limit in (None, MOST + BESIDE)
    balloon.actual = 128
    await bench.looks()
    assert bench.limit == limit_for(128, MOST, BESIDE)


async def test_one_that_is_far_from_its_limit_is_hardly_ever_asked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.looks(2)
    asked, seen = [], FakeBalloon.seen

    def noted(balloon: FakeBalloon) -> Balloon:
        asked.append(bench.host.clock.monotonic())
        return seen(balloon)

    monkeypatch.setattr(FakeBalloon, "seen", noted)
    await bench.looks(int(ASK_EVERY_S / LOOK_EVERY_S) * 2)
    assert len(asked) == 2
    bench.host.memory_limits.held_mib[bench.directory] = (bench.limit or 0) - bench.host.memory_limits.qemu_mib - 1
    await bench.looks(3)
    assert len(asked) == 5, "one that gets near to it is looked at each time"


async def test_a_guest_without_a_driver_has_all(bench: Bench) -> None:
    bench.guest.balloon.driver, bench.guest.balloon.actual = False, MOST
    await bench.looks(30)
    assert bench.limit in (None, MOST + BESIDE) and bench.alive


async def test_one_that_lets_go_of_its_balloon_gets_no_further(bench: Bench) -> None:
    await bench.looks()
    bench.guest.balloon.actual = MOST
    bench.host.memory_limits.held_mib[bench.directory] = 128
    await bench.looks(3)
    assert bench.limit == limit_for(128, MOST, BESIDE) and bench.alive
    bench.host.memory_limits.held_mib[bench.directory] = MOST
    await bench.looks()
    assert not bench.alive, "the kernel ends whoever takes it all the same"


async def test_one_that_claims_to_have_given_is_ended_after_a_while_and_not_before(bench: Bench) -> None:
    bench.host.memory_limits.held_mib[bench.directory] = MOST
    await bench.looks(int(GRACE_S / LOOK_EVERY_S) - 1)
    assert bench.alive and (bench.limit or 0) >= MOST + bench.host.memory_limits.qemu_mib
    await bench.looks(3)
    assert not bench.alive


@pytest.mark.parametrize("daemon_there", [True, False])
async def test_it_is_said_why_the_kernel_ended_a_run_also_where_no_daemon_saw_it(
    bench: Bench, *, daemon_there: bool
) -> None:
    await bench.looks(2)
    bench.host.memory_limits.held_mib[bench.directory] = MOST
    if not daemon_there:
        await bench.host.crash()
    bench.host.memory_limits.settle(bench.directory)
    if not daemon_there:
        await bench.host.boot()
    await bench.host.settle()
    (message,) = [job.arguments["message"] for job in bench.host.engine.all() if job.kind is JobKind.END]
    why = f"it wanted more than the {bench.limit} MiB that it may take of the host, whose kernel ended it"
    assert message == f"{why}: {'signal SIGKILL' if daemon_there else 'it was gone when wirtd came back'}"


async def test_where_the_kernel_refuses_it_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    told, publish = [], bench.host.environment.bus.publish

    def listen(kind: str, *rest: object) -> None:
        if isinstance(rest[-1], dict) and rest[-1].get("change") == "memory-trouble":
            told.append(str(rest[-1]["why"]))
        publish(kind, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.host.environment.bus, "publish", listen)
    bench.host.memory_limits.refuses = True
    bench.host.memory_limits.held_mib[bench.directory] = MOST
    await bench.looks(int(GRACE_S / LOOK_EVERY_S) + 5)
    assert bench.alive
    (trouble,) = told
    assert "says that it gave" in trouble


async def test_a_guest_that_boots_again_in_its_run_may_use_all_of_it(bench: Bench) -> None:
    await bench.looks()
    await free_limit(bench.host.environment, bench.host.environment.domains.find("web"))
    assert bench.limit == MOST + BESIDE
    bench.guest.balloon.driver, bench.guest.balloon.actual = False, MOST
    await bench.looks(20)
    assert bench.limit == MOST + BESIDE and bench.alive


async def test_what_an_earlier_daemon_granted_is_not_taken_away(bench: Bench) -> None:
    await bench.hold(400)
    await bench.looks()
    await bench.host.crash()
    await bench.host.boot()
    bench.loop = MemoryLimitsLoop(bench.host.environment)
    await bench.looks(3)
    assert bench.alive and bench.limit == limit_for(400, MOST, BESIDE)


async def test_one_that_an_earlier_daemon_gave_more_is_not_held_to_less(bench: Bench) -> None:
    """By itself it was ballooned up to 400, and is on its way."""
    await bench.host.environment.hypervisor.balloons.ask(bench.guest.domain, 400)
    for actual in (200, 300, 400):
        await bench.host.crash()
        await bench.host.boot()
        bench.loop = MemoryLimitsLoop(bench.host.environment)
        bench.guest.balloon.actual = actual
        await bench.looks(2)
        assert bench.limit in (None, MOST + BESIDE) and bench.alive
    bench.guest.balloon.ask(128)
    await bench.looks(2)
    assert bench.limit == limit_for(128, MOST, BESIDE) and bench.alive


async def test_each_run_begins_anew(bench: Bench) -> None:
    await bench.looks()
    environment = bench.host.environment
    before = environment.grants.of(environment.domains.find("web"))
    await bench.host.engine.wait((await destroy(environment, "web")).id)
    await bench.host.create(f"maxmem = {MOST}")
    assert environment.grants.of(environment.domains.find("web")) is not before


def test_nobody_asks_a_balloon_but_through_a_grant() -> None:
    """Whoever did would have a guest take more than its run may: :func:`wirt.operations.memory_grants.grant`."""
    operations = Path(wirt.operations.__file__).parent
    asking = {path.name for path in operations.rglob("*.py") if "balloons.ask(" in path.read_text()}
    assert asking == {"memory_grants.py"}


@pytest.mark.parametrize("seed", range(3))
async def test_an_honest_guest_lives_whatever_it_is_asked_for(bench: Bench, seed: int) -> None:
    dice = random.Random(seed)
    ballooning, balloon = MemoryLoop(bench.host.environment, ON), bench.guest.balloon
    for _ in range(25):
        what = dice.randrange(5)
        if what == 0:
            await bench.hold(dice.randrange(100, MOST + 1))
        elif what == 1:
            balloon.used = dice.randrange(50, balloon.actual + 1)
            await ballooning.look()
        elif what == 2:  # it gives some of what it was asked for, or all
            balloon.gives = dice.random() < 0.5
            balloon.actual = dice.randint(*sorted((balloon.target, balloon.actual)))
            balloon.gives = True
        elif what == 3:
            balloon.actual = balloon.target
        balloon.used = 0
        await bench.looks()
        assert bench.alive
