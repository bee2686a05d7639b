"""Volumes that are devices: they stay when a disk leaves them, and are written over only when that is said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest
from tests.operations.devices_kit import ONE, SMALL, two_devices
from tests.operations.kit import SimulatedHost, config

from wirt.hypervisors.fake.faults import Refuse, Verb
from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, IllegalState, ResourceBusy, Shortage, Unavailable
from wirt.model.job import Job, JobState
from wirt.model.storage import VolumeRef
from wirt.model.units import MIB
from wirt.operations import volumes, volumes_copy
from wirt.operations.create import Source, define
from wirt.operations.disk_move import move_disk

FILE = VolumeRef("default", "web")
DISK = 'disk = ["{},,xvda,rw"]'


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[SimulatedHost]:
    """With a volume in a file, and a pool of two devices."""
    host = SimulatedHost(tmp_path)
    await host.boot()
    await two_devices(host)
    await done(host, volumes.create(host.environment, FILE, 8 * MIB, format_=DiskFormat.RAW))
    host.world.size_of = lambda path: 8 * MIB
    yield host
    await host.settle()
    assert set(host.storage.media["/disks"].volumes) == {"one", "small"}
    await host.assert_consistent()
    await host.stop()


async def ended(host: SimulatedHost, submitted: Awaitable[Job]) -> Job:
    return await host.engine.wait((await submitted).id)


async def done(host: SimulatedHost, submitted: Awaitable[Job]) -> None:
    job = await ended(host, submitted)
    assert job.state is JobState.DONE, job.error


async def test_a_device_is_written_over_only_when_that_is_said(host: SimulatedHost) -> None:
    with pytest.raises(BadInput, match="all that is on it would be gone") as caught:
        await volumes_copy.copy(host.environment, FILE, ONE)
    assert "--overwrite" in (caught.value.hint or "")
    await done(host, volumes_copy.copy(host.environment, FILE, ONE, overwrite=True))
    assert host.image_tool.contents["/dev/disk/by-id/one"].endswith("/web")
    with pytest.raises(BadInput, match="none is written over"):
        await volumes_copy.copy(host.environment, ONE, VolumeRef("default", "new"), overwrite=True)


async def test_a_device_that_is_too_small_or_in_use_is_refused(host: SimulatedHost) -> None:
    with pytest.raises(Shortage, match="small has 1 MiB, and 8 MiB"):
        await volumes_copy.copy(host.environment, FILE, SMALL, overwrite=True)
    with pytest.raises(BadInput, match="is a device, and raw"):
        await volumes_copy.copy(host.environment, FILE, ONE, format_=DiskFormat.QCOW2, overwrite=True)
    await host.create(DISK.format(ONE))
    with pytest.raises(ResourceBusy, match="web"):
        await volumes_copy.copy(host.environment, FILE, ONE, overwrite=True)


async def test_a_device_that_is_some_domains_disk_is_not_written_over(host: SimulatedHost) -> None:
    await a_domain(host, ONE, running=False)
    with pytest.raises(IllegalState, match="is a disk of domain web"):
        await volumes_copy.copy(host.environment, FILE, ONE, overwrite=True)


async def test_a_device_that_a_guest_has_by_its_path_is_not_written_over(host: SimulatedHost) -> None:
    await host.create('disk = ["/dev/disk/by-id/one,raw,xvda,rw"]')
    with pytest.raises(ResourceBusy, match="is a disk of domain web, which runs"):
        await volumes_copy.copy(host.environment, FILE, ONE, overwrite=True)


@pytest.mark.parametrize("running", [True, False])
async def test_a_disk_goes_to_a_device_and_back_and_the_device_stays(host: SimulatedHost, running: bool) -> None:
    await a_domain(host, FILE, running=running)
    await done(host, move_disk(host.environment, "web", "xvda", ONE, overwrite=True))
    assert host.environment.domains.find("web").config.disks[0].volume == str(ONE)
    assert await volumes_in(host) == []
    await done(host, move_disk(host.environment, "web", "xvda", FILE))
    assert host.environment.domains.find("web").config.disks[0].volume == str(FILE)
    assert await volumes_in(host) == ["web"]
    assert host.environment.pools.holders.of(ONE) == ()


@pytest.mark.parametrize("running", [True, False])
async def test_a_move_to_a_device_that_fails_leaves_the_domain_its_disk(
    host: SimulatedHost, running: bool
) -> None:
    await a_domain(host, FILE, running=running)
    if running:
        host.world.fail(Verb.MOVE_DISK, Refuse("it is broken"))
    else:
        host.image_tool.failures.append(Unavailable("it is broken"))
    job = await ended(host, move_disk(host.environment, "web", "xvda", ONE, overwrite=True))
    assert job.state is JobState.FAILED
    assert host.environment.domains.find("web").config.disks[0].volume == str(FILE)
    assert await volumes_in(host) == ["web"]
    assert host.environment.pools.holders.of(ONE) == ()


async def a_domain(host: SimulatedHost, ref: VolumeRef, *, running: bool) -> None:
    text = DISK.format(ref)
    if running:
        await host.create(text)
    else:
        await define(host.environment, Source(config("web", text), "web.cfg", "/cfg"))


async def volumes_in(host: SimulatedHost) -> list[str]:
    return [volume.name for volume in await (await host.environment.pools.open("default")).volumes()]
