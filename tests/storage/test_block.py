"""Pools of devices that exist: what the host uses is never handed to a guest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.model.errors import BadInput, ResourceBusy, Unavailable
from wirt.model.storage import PoolConfig, PoolType
from wirt.ports.storage import Pool
from wirt.storage.block import check_unused, devices_of
from wirt.storage.host import HostStorage

from .kinds import SCRATCH, run


def block(target: str) -> PoolConfig:
    return PoolConfig("disks", PoolType.BLOCK, target)


def test_devices_are_named_by_their_names_or_as_one_likes() -> None:
    target = "/dev/disk/by-id/ata-ACME_1:2,data=/dev/disk/by-partuuid/0-1"
    assert devices_of(block(target)) == {
        "ata-ACME_1_2": "/dev/disk/by-id/ata-ACME_1:2",
        "data": "/dev/disk/by-partuuid/0-1",
    }


@pytest.mark.parametrize("target", ["", "/dev/sdb", "a=/dev/disk/by-id/x,a=/dev/disk/by-id/y", "/etc/passwd"])
def test_a_target_that_can_not_be_is_refused(target: str) -> None:
    with pytest.raises(BadInput):
        devices_of(block(target))


def test_what_is_no_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="no block device"):
        check_unused(str(tmp_path / "file"))
    with pytest.raises(Unavailable, match="plugged in"):
        check_unused(str(tmp_path / "none"))


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Two partitions on the scratch disk."""
    run("sh", "-c", f"printf 'label: gpt\\nsize=100M\\nsize=100M\\n' | sfdisk -q --wipe always {SCRATCH}")
    run("udevadm", "settle")
    yield f"{SCRATCH}-part1", f"{SCRATCH}-part2"
    run("wipefs", "-q", "-a", SCRATCH)
    run("blockdev", "--rereadpt", SCRATCH)
    run("udevadm", "settle")


async def opened(target: str, tmp_path: Path) -> Pool:
    storage = HostStorage(tmp_path)
    await storage.make(block(target))
    return await storage.open(block(target))


@pytest.mark.testhost
@pytest.mark.root
async def test_partitions_are_volumes(parts: tuple[str, str], tmp_path: Path) -> None:
    pool = await opened(f"one={parts[0]},two={parts[1]}", tmp_path)
    assert [(volume.name, volume.size) for volume in await pool.volumes()] == [
        ("one", 100 << 20),
        ("two", 100 << 20),
    ]
    assert (await pool.activate("one")).path == parts[0]
    with pytest.raises(BadInput, match="removes none"):
        await pool.remove("one")


@pytest.mark.testhost
@pytest.mark.root
async def test_what_is_mounted_is_refused_and_so_is_the_disk_it_is_on(
    parts: tuple[str, str], tmp_path: Path
) -> None:
    pool = await opened(f"one={parts[0]},whole={SCRATCH}", tmp_path)
    run("mkfs.ext4", "-q", parts[0])
    place = tmp_path / "mounted"
    place.mkdir()
    run("mount", parts[0], str(place))
    try:
        for name in ("one", "whole"):
            with pytest.raises(ResourceBusy, match=f"is mounted at {place}"):
                await pool.activate(name)
        with pytest.raises(ResourceBusy, match="is mounted"):
            await opened(parts[0], tmp_path)
    finally:
        run("umount", str(place))
    await pool.activate("one")


@pytest.mark.testhost
@pytest.mark.root
async def test_swap_and_physical_volumes_are_refused(parts: tuple[str, str], tmp_path: Path) -> None:
    run("mkswap", "-q", parts[0])
    run("swapon", parts[0])
    try:
        with pytest.raises(ResourceBusy, match="swapping"):
            await opened(parts[0], tmp_path)
    finally:
        run("swapoff", parts[0])
    run("vgcreate", "-q", "blocktest", parts[1])
    try:
        with pytest.raises(ResourceBusy, match="physical volume of LVM"):
            await opened(parts[1], tmp_path)
        run("lvcreate", "-q", "-y", "-L", "16M", "-n", "lv", "blocktest")
        with pytest.raises(ResourceBusy, match="held by dm-"):
            await opened(parts[1], tmp_path)
    finally:
        run("vgremove", "-q", "-y", "blocktest")
        run("pvremove", "-q", "-y", parts[1])


@pytest.mark.testhost
@pytest.mark.root
async def test_a_partition_and_its_disk_are_known_to_overlap(parts: tuple[str, str], tmp_path: Path) -> None:
    storage = HostStorage(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(parts[0])
    found = await storage.identify([SCRATCH, parts[0], parts[1], str(link)])
    assert found[parts[0]].overlaps(found[SCRATCH])
    assert found[str(link)].overlaps(found[parts[0]])
    assert not found[parts[0]].overlaps(found[parts[1]])
