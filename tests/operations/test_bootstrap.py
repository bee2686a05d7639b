"""Bootstrap installs on a host in memory: what goes where, and what a failure leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

import pytest
from tests.operations.devices_kit import ONE, two_devices
from tests.operations.kit import SimulatedHost

from wirt.config.xlcfg import load
from wirt.model.devices import DiskFormat
from wirt.model.errors import IllegalState, NameInUse, NotFound, ResourceBusy, Unavailable, WirtError
from wirt.model.job import Job, JobState
from wirt.model.storage import VolumeRef
from wirt.model.units import GIB
from wirt.operations.bootstrap import bootstrap, preview
from wirt.plan.bootstrap import BootstrapWish
from wirt.ports.bootstrap import Blank
from wirt.ports.storage import NewVolume

WISH = BootstrapWish("debian", "web", size=2 * GIB)
HVM = BootstrapWish("debian", "web", size=2 * GIB, type="hvm")
DEVICE = "/dev/vg/web"


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[SimulatedHost]:
    made = SimulatedHost(tmp_path)
    await made.boot()
    yield made
    await made.settle()
    await made.assert_consistent()
    await made.stop()


async def run(host: SimulatedHost, wish: BootstrapWish, into: str, *, force: bool = False) -> Job:
    job = await bootstrap(host.environment, wish, into, "/images", force=force)
    return await host.engine.wait(job.id)


async def volumes(host: SimulatedHost) -> list[str]:
    return [volume.name for volume in await (await host.environment.pools.open("default")).volumes()]


async def test_a_volume_is_made_and_its_kernel_and_configuration_lie_below_the_home(host: SimulatedHost) -> None:
    job = await run(host, WISH, "default/web")
    assert job.state is JobState.DONE, job.error
    volume = await host.environment.pools.volume(VolumeRef("default", "web"))
    assert volume.size == 2 * GIB
    names = {path.name for path in host.bootstrapper.files}
    assert names == {"web.cfg", "web.kernel", "web.initrd"}
    assert {path.parent for path in host.bootstrapper.files} == {Path("/home/boot/web")}


@pytest.mark.parametrize(("wish", "into"), [(WISH, "default/web"), (HVM, "web.qcow2"), (WISH, "web.raw")])
async def test_the_configuration_that_is_written_is_one_that_create_takes(
    host: SimulatedHost, wish: BootstrapWish, into: str
) -> None:
    job = await run(host, wish, into)
    assert job.state is JobState.DONE, job.error
    text = host.bootstrapper.files[Path(job.notes["result"]["config"])]
    assert isinstance(text, str)
    loaded = load(text, file="web.cfg", cwd=PurePosixPath("/"))
    assert loaded.notices == ()
    assert loaded.config.name == "web"
    assert loaded.config.type == wish.type
    assert len(loaded.config.disks) == 1
    await host.environment.pools.resolve(loaded.config.disks)
    assert ("format=" in text) == (into != "default/web"), "of a volume the pool knows it"
    assert (loaded.config.kernel is not None) == (wish.type == "pvh")


async def test_an_image_lies_where_the_caller_is_with_its_files_beside_it(host: SimulatedHost) -> None:
    job = await run(host, HVM, "web.qcow2")
    assert job.state is JobState.DONE, job.error
    assert "/images/web.qcow2" in host.image_tool.images
    assert set(host.bootstrapper.files) == {Path("/images/web.cfg")}, "GRUB starts the kernel from the disk"


async def test_a_mirror_out_of_reach_leaves_no_volume_no_file_and_no_scratch(host: SimulatedHost) -> None:
    host.bootstrapper.failure = Unavailable("the mirror can't be reached", hint="--mirror")
    job = await run(host, WISH, "default/web")
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.message == "the mirror can't be reached"
    assert await volumes(host) == []
    assert host.bootstrapper.files == {}


async def test_a_cancelled_install_leaves_nothing(host: SimulatedHost) -> None:
    host.bootstrapper.held = True
    job = await bootstrap(host.environment, WISH, "default/web", "/images")
    await host.bootstrapper.going.wait()
    await host.engine.cancel(job.id)
    assert (await host.engine.wait(job.id)).state is JobState.CANCELLED
    assert await volumes(host) == []
    assert host.bootstrapper.files == {}


async def test_a_failed_copy_leaves_no_image(host: SimulatedHost) -> None:
    host.image_tool.failures.append(Unavailable("the disk is full"))
    job = await run(host, HVM, "web.qcow2")
    assert job.state is JobState.FAILED
    assert host.image_tool.images == {}


async def test_a_device_with_something_on_it_is_written_over_only_when_forced(host: SimulatedHost) -> None:
    host.bootstrapper.devices[DEVICE] = Blank(4 * GIB, empty=False)
    with pytest.raises(IllegalState, match="something on /dev/vg/web") as refused:
        await bootstrap(host.environment, WISH, DEVICE, "/")
    assert "--force" in str(refused.value)
    job = await run(host, WISH, DEVICE, force=True)
    assert job.state is JobState.DONE, job.error


async def test_a_device_is_taken_as_large_as_it_is(host: SimulatedHost) -> None:
    host.bootstrapper.devices[DEVICE] = Blank(6 * GIB, empty=True)
    found = await preview(host.environment, HVM, DEVICE, "/")
    assert found.plan.wish.size == 6 * GIB


async def test_a_device_that_was_half_written_is_blank_and_its_loss_is_told(host: SimulatedHost) -> None:
    host.bootstrapper.devices[DEVICE] = Blank(4 * GIB, empty=False)
    host.image_tool.failures.append(Unavailable("the copy failed"))
    job = await run(host, WISH, DEVICE, force=True)
    assert job.state is JobState.FAILED
    assert host.bootstrapper.wiped == [DEVICE]
    assert job.error is not None
    assert "is lost" in str(job.error.hint)


async def test_what_fails_before_the_copy_does_not_touch_the_device(host: SimulatedHost) -> None:
    host.bootstrapper.devices[DEVICE] = Blank(4 * GIB, empty=True)
    host.bootstrapper.failure = Unavailable("the mirror can't be reached")
    assert (await run(host, WISH, DEVICE)).state is JobState.FAILED
    assert host.bootstrapper.wiped == []
    assert DEVICE not in host.image_tool.contents


@pytest.mark.parametrize(
    ("into", "error", "words"),
    [
        ("nowhere/web", WirtError, "no volume of a known pool"),
        ("web", WirtError, "no image"),
        ("/nowhere/web.raw", NotFound, "no directory /nowhere"),
        ("/dev/absent", NotFound, "absent"),
        ("pool:nowhere/web", NotFound, "no storage pool nowhere"),
    ],
)
async def test_a_target_that_can_not_be_is_refused_before_there_is_a_job(
    host: SimulatedHost, into: str, error: type[WirtError], words: str
) -> None:
    with pytest.raises(error, match=words):
        await bootstrap(host.environment, WISH, into, "/images")
    assert host.engine.all() == []


async def test_what_is_there_already_is_never_written_over_by_its_name(host: SimulatedHost) -> None:
    assert (await run(host, HVM, "web.qcow2")).state is JobState.DONE
    with pytest.raises(NameInUse, match=r"web\.qcow2"):
        await bootstrap(host.environment, HVM, "web.qcow2", "/images")
    with pytest.raises(NameInUse, match=r"web\.cfg"):
        await bootstrap(host.environment, HVM, "other.qcow2", "/images")


async def test_a_qcow2_volume_that_exists_is_refused(host: SimulatedHost) -> None:
    pool = await host.environment.pools.open("default")
    await pool.create(NewVolume("web", GIB, DiskFormat.QCOW2))
    with pytest.raises(NameInUse, match="wirt volume destroy default/web"):
        await bootstrap(host.environment, WISH, "default/web", "/images", force=True)


async def test_of_two_that_want_one_volume_at_once_one_gets_it(host: SimulatedHost) -> None:
    jobs = [await bootstrap(host.environment, WISH, "default/web", "/images") for _ in range(2)]
    states = [(await host.engine.wait(job.id)).state for job in jobs]
    assert sorted(states) == [JobState.DONE, JobState.FAILED]
    assert await volumes(host) == ["web"]


async def test_a_plan_touches_nothing(host: SimulatedHost) -> None:
    found = await preview(host.environment, HVM, "default/web", "/images")
    assert found.plan.commands[0][0] == "mmdebstrap"
    assert "pool:default/web" in found.config
    assert await volumes(host) == []
    assert host.engine.all() == []


async def test_a_volume_that_a_domain_runs_on_is_refused(host: SimulatedHost) -> None:
    pool = await host.environment.pools.open("default")
    await pool.create(NewVolume("web", GIB, DiskFormat.RAW))
    await host.create('disk = ["pool:default/web,,xvda,w"]')
    with pytest.raises(ResourceBusy):
        await bootstrap(host.environment, WISH, "default/web", "/images", force=True)


async def test_a_device_that_a_domain_runs_on_is_refused_whatever_it_calls_it(host: SimulatedHost) -> None:
    await two_devices(host)
    path = "/dev/disk/by-id/one"
    host.bootstrapper.devices[path] = Blank(64 * GIB, empty=True)
    await host.create(f'disk = ["{ONE},,xvda,rw"]')
    with pytest.raises(ResourceBusy, match="is a disk of domain web, which runs"):
        await run(host, WISH, path, force=True)
