"""``mem-set`` and ``mem-max``: what can be, what really comes, and what is refused with the range that can."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, config

from wirt.cli.memory import mebibytes
from wirt.client.errors import ApiProblem
from wirt.hypervisors.fake import FakeGuest
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, IllegalState, Shortage
from wirt.model.job import Job, JobState
from wirt.model.units import GIB, MIB
from wirt.operations import memory, power
from wirt.operations.create import Source, define
from wirt.operations.destroy import destroy
from wirt.operations.start import start


async def up(tmp_path: Path, text: str = "maxmem = 512") -> SimulatedHost:
    host = SimulatedHost(tmp_path)
    await host.boot()
    await define(host.environment, Source(config("web", text), "web.cfg", "/cfg"))
    await begin(host)
    return host


async def begin(host: SimulatedHost) -> None:
    await host.settle()
    await host.engine.wait((await start(host.environment, "web")).id)
    await host.settle()


async def end(host: SimulatedHost) -> None:
    await host.engine.wait((await destroy(host.environment, "web")).id)
    await host.settle()


def web(host: SimulatedHost) -> Domain:
    return host.environment.domains.find("web")


def guest(host: SimulatedHost) -> FakeGuest:
    return host.world.guest(web(host).uuid)


async def hold(host: SimulatedHost, mib: int) -> Job:
    job = await memory.set_memory(host.environment, "web", mib)
    return await host.engine.wait(job.id)


async def test_a_guest_begins_with_its_memory_and_can_have_its_most(tmp_path: Path) -> None:
    host = await up(tmp_path)
    assert (guest(host).balloon.actual, guest(host).balloon.size) == (128, 512)
    job = await hold(host, 400)
    assert (job.state, job.notes["result"]["actual_mib"]) == (JobState.DONE, 400)
    await end(host)
    await begin(host)
    assert (guest(host).balloon.actual, guest(host).balloon.size) == (400, 512)
    await host.stop()


async def test_what_a_guest_gives_can_be_taken_again(tmp_path: Path) -> None:
    host = await up(tmp_path, "")
    await hold(host, 100)
    assert guest(host).balloon.actual == 100
    assert (web(host).config.memory_mib, web(host).config.most_mib) == (100, 128)
    await hold(host, 128)
    assert guest(host).balloon.actual == 128
    await host.stop()


async def test_what_can_not_be_is_refused_with_what_can(tmp_path: Path) -> None:
    host = await up(tmp_path)
    await hold(host, 300)
    with pytest.raises(BadInput, match="from 80 to 512 MiB, not 513"):
        await memory.set_memory(host.environment, "web", 513)
    guest(host).balloon.used = 250
    with pytest.raises(BadInput, match="from 266 to 512 MiB, not 200; it uses 250 now"):
        await memory.set_memory(host.environment, "web", 200)
    host.machine.available_bytes = 256 * MIB + 100 * MIB
    with pytest.raises(Shortage, match="200 MiB more, and 100 MiB are free"):
        await memory.set_memory(host.environment, "web", 500)
    await host.stop()


async def test_a_guest_without_a_driver_is_told_plainly(tmp_path: Path) -> None:
    host = await up(tmp_path)
    guest(host).balloon.driver = False
    with pytest.raises(IllegalState, match="no balloon driver at work, and holds all of its 128 MiB"):
        await memory.set_memory(host.environment, "web", 200)
    guest(host).balloon.driver = True
    await power.pause(host.environment, "web")
    await host.settle()
    with pytest.raises(IllegalState, match="only a guest that runs"):
        await memory.set_memory(host.environment, "web", 200)
    await host.stop()


async def test_a_guest_that_gives_slowly_is_told_as_far_as_it_came(tmp_path: Path) -> None:
    host = await up(tmp_path)
    guest(host).balloon.gives = False
    job = await memory.set_memory(host.environment, "web", 200)
    await host.clock.advance(memory.WAIT_S + 1)
    await host.settle()
    job = host.engine.get(job.id)
    assert (job.state, job.notes["result"]["actual_mib"]) == (JobState.DONE, 128)
    await host.stop()


async def test_the_most_is_changed_while_a_domain_is_off(tmp_path: Path) -> None:
    host = await up(tmp_path)
    with pytest.raises(IllegalState, match="settled at its start"):
        await memory.set_most(host.environment, "web", 1024)
    await end(host)
    with pytest.raises(BadInput, match="from 128 to"):
        await memory.set_most(host.environment, "web", 100)
    await memory.set_most(host.environment, "web", 1024)
    await hold(host, 200)
    await begin(host)
    assert (guest(host).balloon.actual, guest(host).balloon.size) == (200, 1024)
    await host.stop()


async def test_a_start_needs_room_for_all_that_a_guest_can_have(tmp_path: Path) -> None:
    host = await up(tmp_path)
    await end(host)
    await memory.set_most(host.environment, "web", 9 * 1024)
    assert host.machine.available_bytes == 8 * GIB
    with pytest.raises(Shortage, match="lower maxmem="):
        await start(host.environment, "web")
    await host.stop()


async def test_the_plan_has_a_proof_that_all_fits(tmp_path: Path) -> None:
    host = await up(tmp_path)
    guest(host).balloon.used = 90
    found = await memory.planned(host.environment)
    [of] = found.guests
    assert (of.name, of.has, of.most, of.guaranteed, of.used) == ("web", 128, 512, 128, 90)
    assert found.plan.claims.holds
    assert found.plan.holds.holds
    assert f"<= {found.host.total} MiB" in found.plan.claims.text
    await host.stop()


@pytest.mark.parametrize(
    ("text", "mib"), [("512", 512), ("512m", 512), ("1g", 1024), ("2T", 2 << 20), ("2048k", 2), ("3145728b", 3)]
)
def test_sizes_are_those_of_xl(text: str, mib: int) -> None:
    assert mebibytes(text) == mib


def test_what_is_no_size_is_said() -> None:
    with pytest.raises(ApiProblem, match="no size"):
        mebibytes("12mb")
