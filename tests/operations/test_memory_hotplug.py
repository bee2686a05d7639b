"""Memory that is plugged into a guest that runs: up to what its configuration left room for, and out again."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.operations import test_moves, test_refresh, test_saves, test_snapshots
from tests.operations.kit import SimulatedHost
from tests.operations.moves_kit import TwoHosts, older
from tests.operations.test_memory import begin, end, guest, hold, up, web
from tests.operations.test_memory_limits import BESIDE, Bench

from wirt.model.errors import BadInput, IllegalState, Shortage
from wirt.model.job import JobState
from wirt.model.units import MIB
from wirt.operations import given_memory, memory
from wirt.operations.fork import ForkWish, fork
from wirt.operations.memory_grants import free_limit
from wirt.operations.migrate import MoveWish, plan_move
from wirt.plan.saved import read_guest

ROOM = "hotplug_memory = 512"


async def test_the_most_of_a_guest_that_runs_is_raised_as_far_as_memory_can_be_plugged_in(tmp_path: Path) -> None:
    host = await up(tmp_path, ROOM)
    with pytest.raises(BadInput, match="from 80 to 128 MiB, not 300") as caught:
        await memory.set_memory(host.environment, "web", 300)
    assert caught.value.hint == "wirt mem-max web raises the most"
    with pytest.raises(BadInput, match="from 128 to 640 MiB, not 641"):
        await memory.set_most(host.environment, "web", 641)
    await memory.set_most(host.environment, "web", 400)
    job = await hold(host, 300)
    assert (job.state, job.notes["result"]["actual_mib"]) == (JobState.DONE, 300)
    assert (web(host).config.memory_mib, web(host).config.most_mib) == (300, 400)
    await host.settle()
    with pytest.raises(BadInput, match="from 300 to 640 MiB, not 299"):
        await memory.set_most(host.environment, "web", 299)
    await host.stop()


async def test_what_was_plugged_in_is_given_back_and_the_rest_by_the_balloon(tmp_path: Path) -> None:
    host = await up(tmp_path, ROOM)
    await memory.set_most(host.environment, "web", 640)
    for mib in (640, 129, 100, 257):
        await hold(host, mib)
        seen = guest(host).balloon.seen()
        assert (seen.actual, seen.top) == (mib, 640)
    await host.stop()


async def test_from_its_next_start_on_a_guest_is_started_with_its_new_most_and_has_the_same_room(
    tmp_path: Path,
) -> None:
    host = await up(tmp_path, ROOM)
    await memory.set_most(host.environment, "web", 400)
    await hold(host, 300)
    await end(host)
    await begin(host)
    assert (guest(host).balloon.size, guest(host).balloon.actual) == (400, 300)
    assert guest(host).balloon.seen().top == 400 + 512
    with pytest.raises(BadInput, match="from 400 to 912 MiB, not 350") as caught:
        await memory.set_most(host.environment, "web", 350)
    assert caught.value.hint == "the guest was started with 400: wirt shutdown web first"
    await host.stop()


async def test_a_guest_without_room_is_told_of_the_key_that_makes_some(tmp_path: Path) -> None:
    host = await up(tmp_path)
    with pytest.raises(IllegalState, match="settled at its start") as caught:
        await memory.set_most(host.environment, "web", 1024)
    assert "hotplug_memory" in str(caught.value.hint)
    await host.stop()


async def test_a_guest_without_the_driver_has_nothing_plugged_in(tmp_path: Path) -> None:
    host = await up(tmp_path, ROOM)
    await memory.set_most(host.environment, "web", 640)
    guest(host).balloon.plugs = False
    with pytest.raises(IllegalState, match="no driver for memory that is plugged in"):
        await memory.set_memory(host.environment, "web", 200)
    await hold(host, 100)
    assert guest(host).balloon.actual == 100
    await host.stop()


async def test_only_what_is_free_is_plugged_in(tmp_path: Path) -> None:
    host = await up(tmp_path, ROOM)
    await memory.set_most(host.environment, "web", 640)
    host.machine.available_bytes = 256 * MIB + 100 * MIB
    with pytest.raises(Shortage, match="172 MiB more, and 100 MiB are free"):
        await memory.set_memory(host.environment, "web", 300)
    await host.stop()


async def test_what_a_run_may_take_follows_what_is_plugged_in(tmp_path: Path) -> None:
    host = await up(tmp_path, ROOM)
    bench = Bench(host)
    host.memory_limits.bound(bench.directory, (128 + BESIDE) * MIB)  # as its jail has it
    await bench.looks()
    assert bench.limit == 128 + BESIDE
    await memory.set_most(host.environment, "web", 640)
    await bench.hold(500)
    assert bench.limit == 500 + BESIDE, "before it is asked: an honest guest never meets its limit"
    await bench.looks(3)
    assert bench.limit == 500 + BESIDE
    await bench.hold(200)
    await bench.looks(3)
    assert bench.limit == 200 + BESIDE
    await bench.hold(100)
    await bench.looks(3)
    assert bench.limit is not None and bench.limit <= 128 + BESIDE
    await host.stop()


async def test_a_guest_that_boots_again_may_take_what_was_plugged_in(tmp_path: Path) -> None:
    host = await up(tmp_path, ROOM)
    bench = Bench(host)
    await memory.set_most(host.environment, "web", 640)
    await bench.hold(400)
    host.memory_limits.bound(bench.directory, 550 * MIB)
    await free_limit(host.environment, web(host))
    assert bench.limit == 400 + BESIDE
    await host.stop()


async def test_guests_without_pressure_are_never_given_what_would_have_to_be_plugged_in(tmp_path: Path) -> None:
    host = await up(tmp_path, ROOM)
    await memory.set_most(host.environment, "web", 640)
    guest(host).balloon.used = 120
    [of] = (await memory.planned(host.environment)).guests
    assert (of.most, of.guaranteed) == (128, 128)
    await hold(host, 300)
    [of] = (await memory.planned(host.environment)).guests
    assert (of.has, of.most, of.guaranteed) == (300, 300, 300)
    await host.stop()


MORE = 128


async def plug(host: SimulatedHost) -> int:
    """What it was started with."""
    await host.settle()
    before = web(host).config.memory_mib
    await memory.set_most(host.environment, "web", before + MORE)
    await hold(host, before + MORE)
    await host.settle()
    return before


def has_it(host: SimulatedHost, before: int, name: str = "web") -> None:
    domain = host.environment.domains.find(name)
    assert domain.incarnation is not None
    plan = host.world.guest(domain.uuid).plan
    assert (plan.memory_mib, plan.hotplug_mib, plan.plugged_mib) == (before, 512, MORE)
    assert given_memory.noted(domain.incarnation.notes).hotplug_mib == 512
    assert host.world.guest(domain.uuid).balloon.seen().actual == before + MORE


async def test_a_saved_guest_is_restored_with_what_was_plugged_in(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path)
    await host.boot()
    bench = test_saves.Bench(host, tmp_path)
    await bench.prepare(f"{test_saves.DISK}\n{ROOM}")
    before = await plug(host)
    await bench.save()
    facts = await host.environment.save_files.facts(bench.file)  # type: ignore[union-attr]
    assert read_guest(facts.header, bench.file).hotplug_mib == 512
    await bench.restore()
    has_it(host, before)
    await host.stop()


async def test_a_snapshot_with_memory_goes_back_to_what_was_plugged_in_then(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path)
    await host.boot()
    bench = test_snapshots.Bench(host)
    await bench.prepare(ROOM)
    await test_snapshots.run(bench)
    before = await plug(host)
    await test_snapshots.ok(await bench.take("then", memory=True))
    await hold(host, before)
    await host.settle()
    await test_snapshots.ok(await bench.back("then"))
    has_it(host, before)
    await host.stop()


async def test_a_refreshed_guest_keeps_what_was_plugged_in(tmp_path: Path) -> None:
    host = await test_refresh.a_guest(tmp_path, ROOM)
    before = await plug(host)
    assert (await test_refresh.done(host)).state is JobState.DONE
    has_it(host, before)
    await host.stop()


async def test_copies_of_a_running_guest_have_what_was_plugged_into_it(tmp_path: Path) -> None:
    host = await up(tmp_path, ROOM)
    before = await plug(host)
    job = await host.engine.wait((await fork(host.environment, "web", ForkWish(count=1))).id)
    assert job.state is JobState.DONE, job.error
    has_it(host, before, "web-1")
    await host.stop()


async def test_a_guest_that_moves_takes_along_what_was_plugged_in_and_the_other_host_has_room_for_it(
    tmp_path: Path,
) -> None:
    hosts = TwoHosts(tmp_path)
    for name in "ab":
        await hosts.boot(name)
    await hosts.a.create(ROOM)
    hosts.a.world.guest(web(hosts.a).uuid).memory = b"what it thinks of"
    before = await plug(hosts.a)
    free = hosts.b.machine.available_bytes
    reserved = hosts.b.environment.host_facts().reserve_bytes
    hosts.b.machine.available_bytes = reserved + before * MIB
    planned = await plan_move(hosts.a.environment, "web", MoveWish("b"))
    assert any(f"asks for {before + MORE} MiB" in remark.what for remark in planned.remarks if remark.blocks)
    hosts.b.machine.available_bytes = free
    assert await test_moves.move(hosts) is JobState.DONE
    assert await test_moves.settled(hosts) == "b"
    has_it(hosts.b, before)


async def test_a_host_that_can_not_plug_memory_in_gets_no_guest_with_room_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = TwoHosts(tmp_path)
    for name in "ab":
        await hosts.boot(name)
    await hosts.a.create(ROOM)
    older(monkeypatch, plugs_memory=False)
    planned = await plan_move(hosts.a.environment, "web", MoveWish("b"))
    [what] = [remark.what for remark in planned.remarks if remark.blocks]
    assert "knows nothing of memory that is plugged in" in what
