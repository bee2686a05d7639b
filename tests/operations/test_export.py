"""``wirt export`` on a host in memory: what goes into the archive, and what is left when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, config

from wirt.config import ovf
from wirt.model.appliance import ApplianceKind
from wirt.model.errors import BadInput, IllegalState, NameInUse, Shortage
from wirt.model.job import JobState
from wirt.model.storage import ImageFormat, VolumeRef
from wirt.model.units import MIB
from wirt.operations import export_domain, import_domain, volumes
from wirt.operations.create import Source, create, define
from wirt.plan.imports import ImportWish

FILE = "/nowhere/web.ova"


async def booted(tmp_path: Path, disk: str = "default/web,,xvda,rw") -> SimulatedHost:
    host = SimulatedHost(tmp_path)
    await host.boot()
    job = await volumes.create(host.environment, VolumeRef("default", "web"), 8 * MIB)
    await host.engine.wait(job.id)
    await define(host.environment, Source(config("web", f'disk = ["{disk}"]'), "web.cfg", "/cfg"))
    return host


async def test_the_archive_describes_the_domain_and_lists_what_it_can_not(tmp_path: Path) -> None:
    host = await booted(tmp_path)
    job = await export_domain.export(host.environment, "web", FILE, ImageFormat.VMDK)
    job = await host.engine.wait(job.id)
    assert job.state is JobState.DONE, job.error
    text, files = host.appliances.packed[FILE]
    assert files == ("web-disk1.vmdk",)
    found = ovf.read(text.encode(), "web.ovf", ApplianceKind.OVA)
    assert (found.name, found.vcpus, found.memory) == ("web", 1, 128 * MIB)
    assert found.disks[0].size == 8 * MIB and found.disks[0].vdev == "xvda"
    assert len(found.cards) == 1 and found.cards[0].mac is not None
    lost = "\n".join(job.notes["result"]["lost"])
    assert "that it is pvh" in lost and "its kernel (/boot/vmlinuz)" in lost
    assert host.environment.pools.holders.of(VolumeRef("default", "web")) == ()
    await host.assert_consistent()
    await host.stop()


async def test_what_runs_is_there_or_can_not_be_written_is_refused(tmp_path: Path) -> None:
    host = await booted(tmp_path)
    with pytest.raises(BadInput, match="is not called so"):
        await export_domain.export(host.environment, "web", "/nowhere/web.tar", ImageFormat.VMDK)
    with pytest.raises(BadInput, match="no vdi disks"):
        await export_domain.export(host.environment, "web", FILE, ImageFormat.VDI)
    host.appliances.packed[FILE] = ("", ())
    with pytest.raises(NameInUse):
        await export_domain.export(host.environment, "web", FILE, ImageFormat.VMDK)
    await create(host.environment, Source(config("db"), "db.cfg", "/cfg"))
    await host.settle()
    with pytest.raises(IllegalState, match="wirt shutdown db first"):
        await export_domain.export(host.environment, "db", "/nowhere/db.ova", ImageFormat.VMDK)
    await host.stop()


async def test_a_domain_without_a_disk_has_nothing_to_export(tmp_path: Path) -> None:
    host = await booted(tmp_path)
    await define(host.environment, Source(config("bare"), "bare.cfg", "/cfg"))
    with pytest.raises(BadInput, match="no disk that could be exported"):
        await export_domain.export(host.environment, "bare", FILE, ImageFormat.VMDK)
    await host.stop()


async def test_a_failed_export_leaves_no_file_and_keeps_what_was_there(tmp_path: Path) -> None:
    host = await booted(tmp_path)
    host.image_tool.failures = [Shortage("full")]
    job = await export_domain.export(host.environment, "web", FILE, ImageFormat.VMDK)
    assert (await host.engine.wait(job.id)).state is JobState.FAILED
    assert host.appliances.packed == {}
    await host.assert_consistent()
    host.appliances.failures = [Shortage("full")]
    job = await export_domain.export(host.environment, "web", FILE, ImageFormat.VMDK)
    assert (await host.engine.wait(job.id)).state is JobState.FAILED
    assert host.appliances.packed == {}
    await host.assert_consistent()
    await host.stop()


async def test_an_export_of_an_import_of_an_export_says_the_same(tmp_path: Path) -> None:
    host = await booted(tmp_path)
    job = await export_domain.export(host.environment, "web", FILE, ImageFormat.VMDK)
    await host.engine.wait(job.id)
    first, _ = host.appliances.packed[FILE]
    host.appliances.appliances["/in.ova"] = ovf.read(first.encode(), "web.ovf", ApplianceKind.OVA)
    job = await import_domain.import_domain(host.environment, "/in.ova", ImportWish("again"))
    assert (await host.engine.wait(job.id)).state is JobState.DONE
    job = await export_domain.export(host.environment, "again", "/again.ova", ImageFormat.VMDK)
    assert (await host.engine.wait(job.id)).state is JobState.DONE
    second, _ = host.appliances.packed["/again.ova"]
    one, two = (ovf.read(text.encode(), "x", ApplianceKind.OVA) for text in (first, second))
    assert (one.vcpus, one.memory, one.firmware, one.cards) == (two.vcpus, two.memory, two.firmware, two.cards)
    assert [disk.vdev for disk in one.disks] == [disk.vdev for disk in two.disks]
    await host.stop()
