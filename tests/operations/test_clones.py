"""Templates, and domains made from them, on a host in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, Strike, config, crash, fail

from wirt.model.errors import BadInput, IllegalState, NameInUse, NotFound, ResourceBusy, WirtError
from wirt.model.job import Job, JobState
from wirt.model.storage import Holder, PoolConfig, PoolType, VolumeRef
from wirt.model.units import MIB
from wirt.operations import pools_verbs, records, template, volumes, volumes_copy
from wirt.operations.catalogue import OPERATIONS
from wirt.operations.clone import CloneRequest, clone
from wirt.operations.create import Source, create, define
from wirt.operations.destroy import destroy, undefine
from wirt.operations.jobs.step import JobKind
from wirt.operations.power import rename
from wirt.operations.start import start

WEB = VolumeRef("default", "web")
CLONE_STEPS = [step.name for step in OPERATIONS[JobKind.CLONE].steps]


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[SimulatedHost]:
    host = SimulatedHost(tmp_path)
    await host.boot()
    await a_domain(host)
    yield host
    await settled(host)
    await host.assert_consistent()
    await host.stop()


async def settled(host: SimulatedHost) -> None:
    """Also what waits for a thread."""
    while any(not job.state.finished for job in host.engine.all()):
        await asyncio.sleep(0.001)
    await host.settle()


async def done(host: SimulatedHost, submitted: Awaitable[Job]) -> Job:
    job = await host.engine.wait((await submitted).id)
    assert job.state is JobState.DONE, job.error
    return job


async def failed(host: SimulatedHost, submitted: Awaitable[Job]) -> str:
    job = await host.engine.wait((await submitted).id)
    assert job.state is JobState.FAILED
    assert job.error is not None
    return job.error.message


async def a_domain(host: SimulatedHost, name: str = "web") -> None:
    await done(host, volumes.create(host.environment, VolumeRef("default", name), 8 * MIB))
    await define(host.environment, guest(name))


def guest(name: str, disk: str | None = None) -> Source:
    return Source(config(name, f'disk = ["{disk or f"default/{name},,xvda,rw"}"]'), f"{name}.cfg", "/cfg")


async def a_template(host: SimulatedHost) -> None:
    await done(host, template.create(host.environment, "web", "base"))


async def names(host: SimulatedHost) -> tuple[list[str], list[str]]:
    """Of the domains, and of the volumes in the pool."""
    found = await (await host.environment.pools.open("default")).volumes()
    return sorted(each.name for each in host.environment.domains), sorted(volume.name for volume in found)


async def test_a_template_is_not_run_and_its_volumes_are_not_written(host: SimulatedHost) -> None:
    await a_template(host)
    environment = host.environment
    refused: list[tuple[type[WirtError], str, Awaitable[object]]] = [
        (IllegalState, "is a template", start(environment, "base")),
        (IllegalState, "is a template", undefine(environment, "base")),
        (IllegalState, "is a template", rename(environment, "base", "other")),
        (IllegalState, "is a template", destroy(environment, "base")),
        (IllegalState, "is a template", template.create(environment, "base")),
        (NameInUse, "there is a template called base", create(environment, guest("base"))),
        (ResourceBusy, "of the template base", create(environment, guest("db", "default/web,,xvda,rw"))),
        (ResourceBusy, "of the template base", volumes.destroy(environment, WEB)),
        (ResourceBusy, "of the template base", volumes.resize(environment, WEB, 16 * MIB)),
        (ResourceBusy, "of the template base", volumes_copy.move(environment, WEB, VolumeRef("default", "x"))),
    ]
    for kind, said, attempt in refused:
        with pytest.raises(kind, match=said):
            await attempt
    await done(host, create(environment, guest("reader", "default/web,,xvda,ro")))


async def test_another_host_that_shares_the_pool_does_not_write_it_either(host: SimulatedHost) -> None:
    await a_template(host)
    other = type(host.environment.pools.holders)(host.store, "host2")
    await other.load()
    with pytest.raises(ResourceBusy, match="stays as it is"):
        await other.claim({WEB: Holder("host2", "0-0")}, {})


async def test_a_template_is_one_still_after_a_crash(host: SimulatedHost) -> None:
    await a_template(host)
    await host.crash()
    await host.boot()
    assert host.environment.domains.find_any("base").template
    await pools_verbs.refresh(host.environment, "default")
    with pytest.raises(ResourceBusy):
        await volumes.destroy(host.environment, WEB)


async def test_what_runs_is_no_template_and_is_not_cloned(host: SimulatedHost) -> None:
    await done(host, start(host.environment, "web"))
    for attempt in (
        template.create(host.environment, "web"),
        clone(host.environment, CloneRequest("web", "db")),
    ):
        with pytest.raises(IllegalState, match="is running") as caught:
            await attempt
        assert "wirt shutdown web" in str(caught.value.hint)


async def test_a_template_that_was_asked_for_behind_a_start_leaves_the_run_its_volumes(
    host: SimulatedHost,
) -> None:
    environment = host.environment
    await start(environment, "web")
    said = await failed(host, template.create(environment, "web"))
    assert "is running" in said
    assert [holder.writes for holder in environment.pools.holders.of(WEB)] == [True]


async def test_a_template_becomes_a_domain_again_when_nothing_stands_on_it(host: SimulatedHost) -> None:
    await a_template(host)
    await done(host, clone(host.environment, CloneRequest("base", "db")))
    for attempt in (
        template.to_domain(host.environment, "base"),
        template.destroy(host.environment, "base", delete_volumes=True),
    ):
        with pytest.raises(ResourceBusy, match=r"is what default/db stand on"):
            await attempt
    await undefine(host.environment, "db")
    for volume in ("db", "db-seed"):
        await done(host, volumes.destroy(host.environment, VolumeRef("default", volume)))
    await done(host, template.to_domain(host.environment, "base"))
    await host.settle()
    await done(host, start(host.environment, "base"))


async def test_destroying_a_template_keeps_its_volumes_unless_they_are_to_go(host: SimulatedHost) -> None:
    await a_template(host)
    await done(host, template.destroy(host.environment, "base"))
    assert await names(host) == ([], ["web"])
    await define(host.environment, guest("web"))
    await a_template(host)
    await done(host, template.destroy(host.environment, "base", delete_volumes=True))
    assert await names(host) == ([], [])


async def test_clones_of_a_template_stand_on_it_and_those_of_a_domain_do_not(host: SimulatedHost) -> None:
    pool = await host.environment.pools.open("default")
    job = await done(host, clone(host.environment, CloneRequest("web", "copy")))
    assert (await pool.find("copy")).backing is None
    assert host.image_tool.contents["/fake/home/volumes/copy"] == "/fake/home/volumes/web"
    await a_template(host)
    job = await done(host, clone(host.environment, CloneRequest("base", "db", count=2)))
    assert [each["name"] for each in job.notes["result"]["domains"]] == ["db-1", "db-2"]
    assert {(await pool.find(f"db-{number}")).backing for number in (1, 2)} == {"web"}
    await done(host, clone(host.environment, CloneRequest("base", "full", linked=False)))
    assert (await pool.find("full")).backing is None
    for name in ("db-1", "db-2", "full", "copy"):
        await done(host, start(host.environment, name))
    macs = {nic.mac for each in host.environment.domains for nic in (await host.environment.plan(each, 1)).nics}
    assert len(macs) == 5


async def test_a_domain_whose_clones_stand_on_it_is_not_started(host: SimulatedHost) -> None:
    await done(host, clone(host.environment, CloneRequest("web", "db", linked=True)))
    await host.settle()
    job = await host.engine.wait((await start(host.environment, "web")).id)
    assert job.error is not None
    assert "is what db stand on" in job.error.message
    assert "wirt template create web" in str(job.error.hint)
    await done(host, start(host.environment, "db"))


async def test_a_seed_tells_each_clone_who_it_is(host: SimulatedHost) -> None:
    request = CloneRequest("web", "db", count=2, ssh_keys=("ssh-ed25519 AAAA",), user_data="#cloud-config\n")
    await done(host, clone(host.environment, request))
    for name in ("db-1", "db-2"):
        domain = host.environment.domains.find(name)
        said = host.seeds.written[f"/fake/home/volumes/{name}-seed"]
        for word in (b"cidata", f"wirt-{domain.uuid}".encode(), name.encode(), b"ssh-ed25519 AAAA"):
            assert word in said
        assert domain.config.disks[-1].volume == f"default/{name}-seed"
        assert not domain.config.disks[-1].writable


async def test_what_can_be_known_to_be_wrong_is_refused_before_there_is_a_job(host: SimulatedHost) -> None:
    environment = host.environment
    await a_domain(host, "db")
    await define(environment, guest("path", "/srv/x.img,raw,xvda,rw"))
    await done(host, volumes.create(environment, VolumeRef("default", "taken-seed"), MIB))
    fast = PoolConfig("fast", PoolType.FAKE, "/fast")
    await done(host, pools_verbs.create(environment, fast))
    before = len(host.engine.all())
    attempts: list[tuple[type[WirtError], CloneRequest]] = [
        (NotFound, CloneRequest("none", "x")),
        (NameInUse, CloneRequest("web", "db")),
        (NameInUse, CloneRequest("web", "web")),
        (NameInUse, CloneRequest("web", "taken")),
        (BadInput, CloneRequest("web", "Domain-0")),
        (NotFound, CloneRequest("web", "x", pool="nowhere")),
        (BadInput, CloneRequest("web", "x", pool="fast", linked=True)),
        (BadInput, CloneRequest("web", "x", count=0)),
        (BadInput, CloneRequest("web", "x", user_data="nothing")),
        (BadInput, CloneRequest("web", "x", ssh_keys=("no",))),
        (BadInput, CloneRequest("web", "x", identity=False, user_data="#!/bin/sh\n")),
        (IllegalState, CloneRequest("path", "x")),
    ]
    for kind, request in attempts:
        with pytest.raises(kind):
            await clone(environment, request)
    with pytest.raises(IllegalState, match="no volume of a pool"):
        await template.create(environment, "path")
    with pytest.raises(NameInUse):
        await template.create(environment, "web", "db")
    assert len(host.engine.all()) == before
    await undefine(environment, "path")


async def test_of_two_clones_that_want_one_name_one_is_made(host: SimulatedHost) -> None:
    first = await clone(host.environment, CloneRequest("web", "db"))
    second = await clone(host.environment, CloneRequest("web", "db"))
    ends = [await host.engine.wait(job.id) for job in (first, second)]
    assert [job.state for job in ends] == [JobState.DONE, JobState.FAILED]
    assert await names(host) == (["db", "web"], ["db", "db-seed", "web"])


async def test_a_full_pool_leaves_no_clone(host: SimulatedHost) -> None:
    host.seeds.failures.append(ResourceBusy("full"))
    assert await failed(host, clone(host.environment, CloneRequest("web", "db", count=3))) == "full"
    assert await names(host) == (["web"], ["web"])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", CLONE_STEPS)
@pytest.mark.parametrize("how", ["fail", "crash", "cancel"])
async def test_however_a_clone_is_stopped_all_are_made_or_none(
    tmp_path: Path, step: str, when: str, how: str
) -> None:
    host = SimulatedHost(tmp_path)
    cancelling = []

    def cancel(job: Job) -> None:
        cancelling.append(asyncio.ensure_future(host.engine.cancel(job.id)))

    await host.boot(Strike(JobKind.CLONE, step, when, {"fail": fail, "crash": crash, "cancel": cancel}[how]))
    await a_domain(host)
    await a_template(host)
    await clone(host.environment, CloneRequest("base", "db", count=3))
    if how == "crash":
        await host.settle()
        await host.crash()
        await host.boot()
    await settled(host)
    await host.assert_consistent()
    assert await names(host) == (["base"], ["web"])
    await done(host, clone(host.environment, CloneRequest("base", "db", count=3)))
    assert len((await names(host))[1]) == 7
    await host.stop()


async def test_a_clone_under_the_name_of_one_that_is_gone_may_stand_on_something_else(
    host: SimulatedHost,
) -> None:
    """What an image stands on is remembered by its path."""
    await a_template(host)
    await done(host, clone(host.environment, CloneRequest("base", "db", identity=False)))
    image = "/fake/home/volumes/db"
    assert await host.store.get(records.backing_key(image)) is not None
    await undefine(host.environment, "db")
    await done(host, volumes.destroy(host.environment, VolumeRef("default", "db")))
    assert await host.store.get(records.backing_key(image)) is None


async def test_a_pool_with_a_template_is_tidied_and_not_destroyed(host: SimulatedHost) -> None:
    fast = PoolConfig("fast", PoolType.FAKE, "/fast")
    await done(host, pools_verbs.create(host.environment, fast))
    await done(host, clone(host.environment, CloneRequest("web", "db", pool="fast")))
    await done(host, template.create(host.environment, "db"))
    host.storage.media["/fast"].parts.append("half")
    assert len((await pools_verbs.refresh(host.environment, "fast")).tidied) == 1
    with pytest.raises(IllegalState, match="of template db is volume fast/db") as caught:
        await pools_verbs.destroy(host.environment, "fast")
    assert "wirt template destroy db" in str(caught.value.hint)
    with pytest.raises(IllegalState, match="is a disk of template db"):
        await volumes.destroy(host.environment, VolumeRef("fast", "db-seed"))
