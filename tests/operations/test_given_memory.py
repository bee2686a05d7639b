"""A guest's memory is what it began with wherever it goes on, whatever its configuration and the host say by then.

Runs that an older wirt began had ``memory`` and no reports of free pages; what it wrote down of them was less.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from tests.operations import test_moves, test_refresh, test_saves, test_snapshots
from tests.operations.kit import SimulatedHost, config
from tests.operations.moves_kit import TwoHosts, older

from wirt.model.job import JobState
from wirt.model.memory import GivenMemory
from wirt.model.snapshots import Snapshot
from wirt.operations import given_memory
from wirt.operations.create import Source, define
from wirt.operations.environment import Environment
from wirt.operations.fork import ForkWish, fork
from wirt.operations.migrate import MoveWish, plan_move
from wirt.operations.start import start
from wirt.plan.saved import read_guest

OLD_MIB, NEW_MIB = 128, 512
NEW_NOTES = (given_memory.SIZE, given_memory.PADDING, given_memory.REPORTING)


async def make_old(environment: Environment) -> None:
    """As if an older wirt had begun the run of ``web``: its notes say less, and maxmem came later."""
    domain = environment.domains.find("web")
    assert domain.incarnation is not None
    notes = {key: value for key, value in domain.incarnation.notes.items() if key not in NEW_NOTES}
    notes |= {given_memory.OLD_SIZE: str(OLD_MIB), given_memory.PADDING: "8"}
    text = f"{domain.text}\nmaxmem = {NEW_MIB}\n"
    wanted = replace(domain.config, maxmem_mib=NEW_MIB)
    await environment.domains.reconfigure(domain.uuid, config=wanted, text=text, notes=notes)


def goes_on_as_it_was(host: SimulatedHost, name: str = "web") -> None:
    domain = host.environment.domains.find(name)
    assert domain.incarnation is not None
    plan = host.world.guest(domain.uuid).plan
    assert (plan.memory_mib, plan.padding_kib, plan.reporting) == (OLD_MIB, 8, False)
    assert given_memory.noted(domain.incarnation.notes) == GivenMemory(OLD_MIB, 8, reporting=False)


async def test_a_saved_guest_that_was_started_with_its_memory_is_restored_with_that(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path)
    await host.boot()
    bench = test_saves.Bench(host, tmp_path)
    await bench.prepare()
    await make_old(host.environment)
    await bench.save()
    facts = await host.environment.save_files.facts(bench.file)  # type: ignore[union-attr]
    assert read_guest(facts.header, bench.file).memory_mib == OLD_MIB
    await bench.restore()
    goes_on_as_it_was(host)
    assert bench.guest.memory == test_saves.MEMORY
    assert bench.domain.config.most_mib == NEW_MIB, "from its next start on"
    await host.stop()


async def test_a_snapshot_with_memory_goes_back_to_the_memory_of_then(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path)
    await host.boot()
    bench = test_snapshots.Bench(host)
    await bench.prepare()
    await test_snapshots.run(bench)
    await make_old(host.environment)
    await test_snapshots.ok(await bench.take("then", memory=True))
    await test_snapshots.ok(await bench.back("then"))
    goes_on_as_it_was(host)
    await host.stop()


def test_a_snapshot_of_an_older_wirt_is_read_as_it_was() -> None:
    snapshot = Snapshot("then", 0.0, None, (), "")
    assert snapshot.given == GivenMemory(None, 8, reporting=False)


async def test_copies_of_a_running_guest_have_its_memory(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path)
    await host.boot()
    await define(host.environment, Source(config("web"), "web.cfg", "/cfg"))
    await host.engine.wait((await start(host.environment, "web")).id)
    await make_old(host.environment)
    job = await host.engine.wait((await fork(host.environment, "web", ForkWish(count=1))).id)
    assert job.state is JobState.DONE, job.error
    goes_on_as_it_was(host, "web-1")
    await host.stop()


async def test_a_refreshed_guest_has_its_memory(tmp_path: Path) -> None:
    host = await test_refresh.a_guest(tmp_path)
    await make_old(host.environment)
    assert (await test_refresh.done(host)).state is JobState.DONE
    goes_on_as_it_was(host)
    await host.stop()


async def two_hosts(directory: Path) -> TwoHosts:
    return await test_moves.two_hosts(directory)


async def test_a_guest_that_moves_has_its_memory(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    await make_old(hosts.a.environment)
    assert await test_moves.move(hosts) is JobState.DONE
    assert await test_moves.settled(hosts) == "b"
    goes_on_as_it_was(hosts.b)


@pytest.mark.parametrize("reporting", [True, False])
async def test_a_balloon_keeps_what_it_told_its_guest_whatever_the_other_host_is_set_to(
    tmp_path: Path, reporting: bool
) -> None:
    hosts = TwoHosts(tmp_path)
    for name, here in (("a", reporting), ("b", not reporting)):
        await hosts.boot(name)
        environment = hosts.hosts[name].environment
        environment.settings = replace(environment.settings, reporting=here)
    await hosts.a.create()
    hosts.a.world.guest(uuid_of(hosts.a)).memory = b"what it thinks of"
    assert hosts.a.world.guest(uuid_of(hosts.a)).plan.reporting is reporting
    assert await test_moves.move(hosts) is JobState.DONE
    assert await test_moves.settled(hosts) == "b"
    assert hosts.b.world.guest(uuid_of(hosts.b)).plan.reporting is reporting


def uuid_of(host: SimulatedHost) -> UUID:
    return host.environment.domains.find("web").uuid


def test_what_is_noted_of_a_run_is_read_again() -> None:
    assert given_memory.noted({}) == GivenMemory()
    assert given_memory.noted({"memory_mib": "0"}) == GivenMemory()
    kept = GivenMemory(96, 0, reporting=True)
    assert given_memory.of_job({given_memory.GIVEN: given_memory.argument(kept)}) == kept
    assert given_memory.of_job({given_memory.PADDING: 0}) == GivenMemory(None, 0), "a job of an older daemon"
    assert given_memory.of_job({"uuid": "x"}) is None


async def test_a_host_that_keeps_no_memory_gets_no_guest_whose_balloon_reports_or_whose_size_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = TwoHosts(tmp_path)
    for name in "ab":
        await hosts.boot(name)
    environment = hosts.a.environment
    await hosts.a.create()

    async def keeping() -> list[str]:
        planned = await plan_move(environment, "web", MoveWish("b"))
        return [remark.what for remark in planned.remarks if remark.blocks]

    assert await keeping() == []
    older(monkeypatch, keeps_memory=False)
    (what,) = await keeping()
    assert "knows nothing of balloons that report free pages" in what
    domain = environment.domains.find("web")
    smaller = replace(domain.config, memory_mib=domain.config.memory_mib - 16)
    await environment.domains.change(domain.uuid, config=smaller)
    assert any("memory of another size" in what for what in await keeping())
