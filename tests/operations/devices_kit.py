"""A pool whose volumes are devices, in memory."""

from __future__ import annotations

from tests.operations.kit import SimulatedHost

from wirt.model.devices import DiskFormat
from wirt.model.job import JobState
from wirt.model.storage import PoolConfig, PoolType, Volume, VolumeRef
from wirt.model.units import MIB
from wirt.operations import pools_verbs

ONE, SMALL = VolumeRef("disks", "one"), VolumeRef("disks", "small")


async def two_devices(host: SimulatedHost) -> None:
    """The pool ``disks``, of 8 MiB and of 1 MiB."""
    host.storage.devices.add("/disks")
    job = await pools_verbs.create(host.environment, PoolConfig("disks", PoolType.FAKE, "/disks"))
    assert (await host.engine.wait(job.id)).state is JobState.DONE
    for ref, size in ((ONE, 8 * MIB), (SMALL, MIB)):
        path = f"/dev/disk/by-id/{ref.volume}"
        device = Volume("disks", ref.volume, DiskFormat.RAW, size, size, path)
        host.storage.media["/disks"].volumes[ref.volume] = device
