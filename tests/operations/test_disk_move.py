"""``wirt disk-move``: what it refuses, and what it makes of interruptions that only it can meet."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, config

from wirt.hypervisors.fake.faults import Refuse, Verb
from wirt.model.devices import DiskFormat
from wirt.model.engine import Aio, CacheMode
from wirt.model.errors import BadInput, HypervisorError, IllegalState, NotFound, Shortage, Unavailable
from wirt.model.job import Job, JobState
from wirt.model.lifecycle import State
from wirt.model.storage import Capability, PoolConfig, PoolType, VolumeRef
from wirt.model.units import MIB
from wirt.operations import pools_verbs, volumes
from wirt.operations.create import Source, define
from wirt.operations.disk_move import move_disk
from wirt.plan.engine import Medium

OLD, NEW = VolumeRef("default", "old"), VolumeRef("default", "new")


@pytest.fixture
async def host(tmp_path: Path) -> SimulatedHost:
    made = SimulatedHost(tmp_path)
    await made.boot()
    job = await volumes.create(made.environment, OLD, MIB, format_=DiskFormat.RAW)
    assert (await made.engine.wait(job.id)).state is JobState.DONE
    made.world.size_of = lambda path: MIB
    return made


async def ended(host: SimulatedHost, job: Job) -> Job:
    await host.settle()
    return host.engine.get(job.id)


async def names(host: SimulatedHost) -> list[str]:
    pool = await host.environment.pools.open("default")
    return [volume.name for volume in await pool.volumes()]


async def test_only_a_disk_that_is_a_volume_is_moved(host: SimulatedHost) -> None:
    await host.create('disk = ["/plain.img,raw,xvda,rw", "default/old,,xvdb,rw"]')
    with pytest.raises(BadInput, match="no volume of a pool"):
        await move_disk(host.environment, "web", "xvda", NEW)
    with pytest.raises(NotFound) as caught:
        await move_disk(host.environment, "web", "xvdc", NEW)
    assert "xvda, xvdb" in str(caught.value)


async def test_a_format_that_the_configuration_names_is_kept_or_said(host: SimulatedHost) -> None:
    await host.create('disk = ["default/old,raw,xvda,rw"]')
    with pytest.raises(BadInput, match="is raw in the configuration"):
        await move_disk(host.environment, "web", "xvda", NEW, format_=DiskFormat.QCOW2)
    job = await move_disk(host.environment, "web", "xvda", NEW, format_=DiskFormat.RAW)
    assert (await ended(host, job)).state is JobState.DONE
    await host.assert_consistent()


async def test_of_a_domain_that_is_off_the_volume_is_moved_and_kept_if_asked(host: SimulatedHost) -> None:
    await define(host.environment, Source(config("db", 'disk = ["default/old,,xvda,rw"]'), "db.cfg", "/cfg"))
    job = await move_disk(host.environment, "db", "xvda", NEW, keep=True)
    assert (await ended(host, job)).state is JobState.DONE
    assert await names(host) == ["new", "old"]
    assert host.environment.domains.find("db").config.disks[0].volume == str(NEW)


async def test_a_moved_disk_is_served_as_it_would_be_where_it_lies_now(host: SimulatedHost) -> None:
    job = await pools_verbs.create(host.environment, PoolConfig("fast", PoolType.FAKE, "/fast"))
    assert (await ended(host, job)).state is JobState.DONE
    host.storage.grounds["/fast"] = Medium("ext4")
    await host.create('disk = ["default/old,,xvda,rw"]')
    guest = host.world.guest(host.environment.domains.find("web").uuid)
    assert guest.disks.find("xvda").engine.aio is Aio.THREADS
    job = await move_disk(host.environment, "web", "xvda", VolumeRef("fast", "new"))
    assert (await ended(host, job)).state is JobState.DONE
    engine = guest.disks.find("xvda").engine
    assert (engine.cache, engine.aio) == (CacheMode.NONE, Aio.NATIVE)
    job = await move_disk(host.environment, "web", "xvda", NEW)
    assert (await ended(host, job)).state is JobState.DONE
    assert guest.disks.find("xvda").engine.cache is CacheMode.WRITEBACK
    await host.assert_consistent()


async def test_a_volume_that_another_running_domain_has_too_stays(host: SimulatedHost) -> None:
    await host.create('disk = ["default/old,,xvda,ro"]')
    await host.create('disk = ["default/old,,xvda,ro"]', name="other")
    with pytest.raises(IllegalState, match="too, and runs"):
        await move_disk(host.environment, "web", "xvda", NEW)


async def test_a_guest_that_ends_during_its_move_keeps_its_old_disk(host: SimulatedHost) -> None:
    await host.create('disk = ["default/old,,xvda,rw"]')
    job = await move_disk(host.environment, "web", "xvda", NEW, bytes_per_s=1024)
    await host.settle()
    host.world.guest(host.environment.domains.find("web").uuid).vanish()
    await host.clock.advance(3600)
    assert (await ended(host, job)).state is JobState.FAILED
    assert await names(host) == ["old"]
    await host.assert_consistent()


async def test_a_cancelled_move_leaves_nothing(host: SimulatedHost) -> None:
    await host.create('disk = ["default/old,,xvda,rw"]')
    job = await move_disk(host.environment, "web", "xvda", NEW, bytes_per_s=1024)
    await host.settle()
    assert "copying" in host.engine.get(job.id).message
    await host.engine.cancel(job.id)
    assert (await ended(host, job)).state is JobState.CANCELLED
    assert await names(host) == ["old"]
    assert host.environment.domains.find("web").state is State.RUNNING
    await host.assert_consistent()


async def test_a_guest_that_stands_still_since_its_daemon_died_goes_on(host: SimulatedHost) -> None:
    await host.create('disk = ["default/old,,xvda,rw"]')
    job = await move_disk(host.environment, "web", "xvda", NEW, bytes_per_s=1024)
    await host.settle()
    guest = host.world.guest(host.environment.domains.find("web").uuid)
    await host.crash()
    # As QEMU is between the change and its record.
    guest.pause()
    guest.disks.end_copy(guest, "xvda", pivot=True)
    await host.boot()
    assert (await ended(host, job)).state is JobState.DONE
    assert host.environment.domains.find("web").state is State.RUNNING
    assert await names(host) == ["new"]
    await host.assert_consistent()


@pytest.mark.parametrize("running", [True, False])
async def test_whatever_fails_in_a_full_pool_is_told_as_that_and_leaves_nothing(
    host: SimulatedHost, running: bool
) -> None:
    """The kernel says only that something could not be written back."""
    job = await pools_verbs.create(host.environment, PoolConfig("small", PoolType.FAKE, "/small"))
    assert (await ended(host, job)).state is JobState.DONE
    if running:
        await host.create('disk = ["default/old,,xvda,rw"]')
        host.world.fail(Verb.MOVE_DISK, Refuse("Input/output error"))
    else:
        await define(host.environment, Source(config("web", 'disk = ["default/old,,xvda,rw"]'), "web.cfg", "/cfg"))
        host.image_tool.failures.append(Unavailable("Input/output error"))
    host.storage.media["/small"].capacity = MIB // 2
    error = (await ended(host, await move_disk(host.environment, "web", "xvda", VolumeRef("small", "new")))).error
    assert error is not None
    assert error.code == Shortage.code
    assert "pool small has 0 MiB left" in error.message
    assert "Input/output error" in error.message
    assert "wirt pool list" in (error.hint or "")
    assert host.storage.media["/small"].volumes == {}
    assert host.environment.domains.find("web").config.disks[0].volume == str(OLD)
    await host.assert_consistent()


async def test_what_fails_in_a_pool_with_room_is_told_as_it_is(host: SimulatedHost) -> None:
    await host.create('disk = ["default/old,,xvda,rw"]')
    host.world.fail(Verb.MOVE_DISK, Refuse("Input/output error"))
    error = (await ended(host, await move_disk(host.environment, "web", "xvda", NEW))).error
    assert error is not None
    assert error.code == HypervisorError.code
    assert "Input/output error" in error.message


async def test_where_volumes_have_their_room_a_pool_that_is_full_explains_nothing(host: SimulatedHost) -> None:
    """As a volume group all of which is in volumes, or a device."""
    host.storage.lacking.add(Capability.THIN)
    job = await pools_verbs.create(host.environment, PoolConfig("thick", PoolType.FAKE, "/thick"))
    assert (await ended(host, job)).state is JobState.DONE
    host.storage.media["/thick"].capacity = 0
    await host.create('disk = ["default/old,,xvda,rw"]')
    host.world.fail(Verb.MOVE_DISK, Refuse("Input/output error"))
    error = (await ended(host, await move_disk(host.environment, "web", "xvda", VolumeRef("thick", "new")))).error
    assert error is not None
    assert error.code == HypervisorError.code
