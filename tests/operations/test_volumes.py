"""Pools, volumes and who has them, on a host in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, config

from wirt.model.errors import (
    BadInput,
    ConfigError,
    IllegalState,
    NameInUse,
    NotFound,
    ResourceBusy,
    Shortage,
    Unavailable,
    WirtError,
)
from wirt.model.job import Job, JobState
from wirt.model.lifecycle import State
from wirt.model.storage import Holder, PoolConfig, PoolType, Preallocation, VolumeRef, parse_size
from wirt.model.units import GIB, MIB
from wirt.operations import pools_verbs, volumes, volumes_copy
from wirt.operations.create import Source, create, define
from wirt.operations.destroy import destroy
from wirt.ports.storage import Identity
from wirt.storage.fake import FakePool

WEB = VolumeRef("default", "web")


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[SimulatedHost]:
    host = SimulatedHost(tmp_path)
    await host.boot()
    yield host
    await host.settle()
    await host.assert_consistent()
    await host.stop()


async def ended(host: SimulatedHost, submitted: Awaitable[Job]) -> Job:
    return await host.engine.wait((await submitted).id)


async def done(host: SimulatedHost, submitted: Awaitable[Job]) -> None:
    job = await ended(host, submitted)
    assert job.state is JobState.DONE, job.error


async def a_volume(host: SimulatedHost, ref: VolumeRef = WEB, size: int = 8 * MIB) -> None:
    await done(host, volumes.create(host.environment, ref, size))


def guest(name: str, disk: str) -> Source:
    return Source(config(name, f'disk = ["{disk}"]'), f"{name}.cfg", "/cfg")


async def test_a_domain_has_its_volumes_while_it_runs_and_no_longer(host: SimulatedHost) -> None:
    await a_volume(host)
    await done(host, create(host.environment, guest("web", "default/web,,xvda,rw")))
    domain = host.environment.domains.find("web")
    holders = host.environment.pools.holders
    assert holders.of(WEB) == (Holder("host1", str(domain.uuid), 1),)
    assert domain.config.disks[0].target == "pool:default/web"
    plan = await host.environment.plan(domain, 1)
    assert (plan.disks[0].path, plan.disks[0].volume) == ("/fake/home/volumes/web", "default/web")
    await done(host, destroy(host.environment, "web"))
    assert holders.of(WEB) == ()


async def test_two_domains_never_have_one_volume_for_writing(host: SimulatedHost) -> None:
    await a_volume(host)
    await done(host, create(host.environment, guest("web", "default/web,,xvda,rw")))
    for access in ("rw", "ro"):
        with pytest.raises(ResourceBusy, match="web"):
            await create(host.environment, guest("db", f"pool:default/web,,xvda,{access}"))


async def test_many_may_read_one_volume(host: SimulatedHost) -> None:
    await a_volume(host)
    for name in ("web", "db"):
        await done(host, create(host.environment, guest(name, "default/web,,xvda,ro")))
    with pytest.raises(ResourceBusy):
        await create(host.environment, guest("third", "default/web,,xvda,rw"))


async def test_of_two_hosts_that_start_a_domain_on_one_volume_one_is_told(host: SimulatedHost) -> None:
    """The other host's daemon writes into the same store."""
    await a_volume(host)
    other = type(host.environment.pools.holders)(host.store, "host2")
    await other.claim({WEB: Holder("host2", "0-0")}, {})
    job = await ended(host, create(host.environment, guest("web", "default/web,,xvda,rw")))
    assert job.error is not None
    assert "in use by domain 0-0 on host2" in job.error.message
    await other.release("0-0")
    await host.environment.pools.holders.load()


async def test_what_others_stand_on_is_not_written(host: SimulatedHost) -> None:
    await a_volume(host)
    await done(host, volumes.clone(host.environment, WEB, "cloned"))
    job = await ended(host, create(host.environment, guest("web", "default/web,,xvda,rw")))
    assert job.error is not None
    assert "is what cloned stand on" in job.error.message


async def test_a_disk_is_one_disk_whatever_it_is_called(
    host: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def identify(paths: object) -> dict[str, Identity]:
        return {"/dev/sda": Identity("8:0"), "/dev/disk/a": Identity("8:1", "8:0"), "/x": Identity("8:1", "8:0")}

    monkeypatch.setattr(host.storage, "identify", identify)
    await done(host, create(host.environment, guest("web", "/dev/disk/a,raw,xvda,rw")))
    for path in ("/dev/sda", "/x"):
        with pytest.raises(ResourceBusy, match=r"is a disk of domain web \(as /dev/disk/a\)"):
            await create(host.environment, guest("db", f"{path},raw,xvda,rw"))
    await done(host, create(host.environment, guest("other", "/y,raw,xvda,rw")))


async def test_an_entry_that_contradicts_the_pool_or_names_nothing_is_an_error(host: SimulatedHost) -> None:
    await a_volume(host)
    for disk, said in (
        ("default/web,qcow2,xvda,rw", "is raw, and the entry of xvda says qcow2"),
        ("default/none,,xvda,rw", "no volume none"),
        ("pool:nowhere/web,,xvda,rw", "no storage pool nowhere"),
    ):
        with pytest.raises(ConfigError, match=said):
            await create(host.environment, guest("web", disk))
    await done(host, create(host.environment, guest("web", "default/web,raw,xvda,rw")))


@pytest.mark.parametrize("size", [0, -1, 1 << 61])
async def test_a_size_that_can_not_be_is_refused(host: SimulatedHost, size: int) -> None:
    with pytest.raises(BadInput, match="no size"):
        await volumes.create(host.environment, WEB, size)


async def test_what_can_be_known_to_be_wrong_is_refused_before_there_is_a_job(host: SimulatedHost) -> None:
    await a_volume(host)
    environment, gone = host.environment, VolumeRef("default", "gone")
    before = len(host.engine.all())
    attempts: list[tuple[type[WirtError], Awaitable[Job]]] = [
        (NameInUse, volumes.create(environment, WEB, MIB)),
        (NotFound, volumes.create(environment, VolumeRef("none", "x"), MIB)),
        (Shortage, volumes.create(environment, gone, 65 * GIB, preallocation=Preallocation.FULL)),
        (NotFound, volumes.resize(environment, gone, MIB)),
        (IllegalState, volumes.resize(environment, WEB, MIB)),
        (NameInUse, volumes.clone(environment, WEB, "web")),
        (NameInUse, volumes_copy.copy(environment, WEB, WEB)),
        (NotFound, volumes.destroy(environment, gone)),
        (NotFound, volumes_copy.import_file(environment, "/none", gone)),
        (BadInput, pools_verbs.destroy(environment, "default")),
        (NotFound, pools_verbs.destroy(environment, "none")),
        (BadInput, pools_verbs.create(environment, PoolConfig("x", PoolType.LVM, "vg"))),
        (BadInput, pools_verbs.create(environment, PoolConfig("X Y", PoolType.FAKE, "vg"))),
        (ResourceBusy, pools_verbs.create(environment, PoolConfig("x", PoolType.FAKE, "/home/volumes"))),
    ]
    for error, attempt in attempts:
        with pytest.raises(error):
            await attempt
    assert len(host.engine.all()) == before


async def test_a_volume_shrinks_only_when_forced_and_off(host: SimulatedHost) -> None:
    await a_volume(host)
    await done(host, create(host.environment, guest("web", "default/web,,xvda,rw")))
    with pytest.raises(IllegalState, match="runs on it"):
        await volumes.resize(host.environment, WEB, MIB, force=True)
    await done(host, destroy(host.environment, "web"))
    await done(host, volumes.resize(host.environment, WEB, MIB, force=True))
    assert (await host.environment.pools.volume(WEB)).size == MIB


async def test_a_volume_of_a_domain_is_not_removed_under_it(host: SimulatedHost) -> None:
    await a_volume(host)
    await define(host.environment, guest("web", "default/web,,xvda,rw"))
    with pytest.raises(IllegalState, match="is a disk of domain web"):
        await volumes.destroy(host.environment, WEB)


async def test_a_move_changes_the_configurations_and_nothing_else_in_them(host: SimulatedHost) -> None:
    await a_volume(host)
    await a_volume(host, VolumeRef("default", "web2"))
    text = config("web", 'disk = ["default/web,,xvda,rw", "default/web2,,xvdb,rw"]')
    await define(host.environment, Source(text, "web.cfg", "/cfg"))
    await done(host, volumes_copy.move(host.environment, WEB, VolumeRef("default", "new")))
    disks = host.environment.domains.find("web").config.disks
    assert [disk.volume for disk in disks] == ["default/new", "default/web2"]
    with pytest.raises(NotFound):
        await host.environment.pools.volume(WEB)
    assert host.image_tool.contents["/fake/home/volumes/new"] == "/fake/home/volumes/web"


async def test_a_pool_with_volumes_in_use_stays(host: SimulatedHost) -> None:
    fast = PoolConfig("fast", PoolType.FAKE, "/fast")
    await done(host, pools_verbs.create(host.environment, fast))
    await a_volume(host, VolumeRef("fast", "web"))
    await done(host, create(host.environment, guest("web", "fast/web,,xvda,rw")))
    with pytest.raises(ResourceBusy, match="in use"):
        await pools_verbs.destroy(host.environment, "fast")
    await done(host, destroy(host.environment, "web"))
    await done(host, pools_verbs.destroy(host.environment, "fast"))
    assert "web" in host.storage.media["/fast"].volumes, "what is in it stays"


async def test_a_pool_that_is_waited_for_keeps_no_other_waiting(
    host: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools, gate, at_once = host.environment.pools, asyncio.Event(), host.storage.open
    job = await pools_verbs.create(host.environment, PoolConfig("far", PoolType.FAKE, "/far"))
    assert (await host.engine.wait(job.id)).state is JobState.DONE

    async def slow(config: PoolConfig) -> FakePool:
        if config.name == "far":
            await gate.wait()
        return await at_once(config)

    monkeypatch.setattr(host.storage, "open", slow)
    for name in ("far", "default"):
        await pools.close(name)
    waiting = asyncio.create_task(pools.open("far"))
    await asyncio.sleep(0)
    assert (await asyncio.wait_for(pools.open("default"), 20)).config.name == "default"
    assert not waiting.done()
    gate.set()
    assert (await waiting).config.name == "far"


async def test_a_domain_starts_while_the_pool_of_another_is_away(
    host: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a start of the daemon, which does not know yet where the other's disk lies."""
    await done(host, pools_verbs.create(host.environment, PoolConfig("far", PoolType.FAKE, "/far")))
    await a_volume(host, VolumeRef("far", "web"))
    await a_volume(host, VolumeRef("default", "db"))
    await host.create('disk = ["far/web,,xvda,rw"]')
    await host.crash()
    at_once = host.storage.open

    async def away(config: PoolConfig) -> FakePool:
        if config.name == "far":
            raise Unavailable("the server does not answer")
        return await at_once(config)

    monkeypatch.setattr(host.storage, "open", away)
    await host.boot()
    await host.create('disk = ["default/db,,xvda,rw"]', name="db")
    assert host.environment.domains.find("db").state is State.RUNNING
    with pytest.raises(WirtError):
        await host.create('disk = ["far/web,,xvda,rw"]', name="other")
    monkeypatch.undo()


async def test_a_domain_that_was_killed_with_the_daemon_lets_its_volumes_go(host: SimulatedHost) -> None:
    await a_volume(host)
    await done(host, create(host.environment, guest("web", "default/web,,xvda,rw")))
    host.world.lose_power()
    await host.crash()
    await host.boot()
    await host.settle()
    assert host.environment.pools.holders.of(WEB) == ()


async def test_what_a_failed_undo_left_held_is_released_by_a_refresh(host: SimulatedHost) -> None:
    await a_volume(host)
    await a_volume(host, VolumeRef("default", "db"))
    await done(host, create(host.environment, guest("db", "default/db,,xvda,rw")))
    holders = host.environment.pools.holders
    await holders.claim({WEB: Holder("host1", job="gone")}, {})
    with pytest.raises(ResourceBusy, match="job gone"):
        await volumes.destroy(host.environment, WEB)
    await pools_verbs.refresh(host.environment, "default")
    await done(host, volumes.destroy(host.environment, WEB))
    assert holders.of(VolumeRef("default", "db")) != ()


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("4K", 4096), ("10G", 10 << 30), ("1.5m", 1536 << 10), ("2TiB", 2 << 40)]
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1e3", "10X", "1 000", "0x10", "٣G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_size(text)
