"""A volume that is there already and is written over: a device, of a pool that makes none.

Whoever moves a disk away from a device leaves the device as it was then.
"""

from __future__ import annotations

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, Shortage
from wirt.model.storage import Capability, VolumeRef
from wirt.model.units import MIB
from wirt.operations.checks import check_path_free
from wirt.operations.environment import Environment
from wirt.operations.volumes_steps import check_free, check_nobodys


async def is_device(environment: Environment, ref: VolumeRef) -> bool:
    """It was there before its pool, and stays."""
    return Capability.CREATE not in (await environment.pools.open(ref.pool)).capabilities


async def onto(
    environment: Environment, target: VolumeRef, size: int, format_: DiskFormat | None, *, overwrite: bool
) -> dict[str, object]:
    """Arguments of a job that writes ``size`` bytes over the device ``target``, which nobody has."""
    pool = await environment.pools.open(target.pool)
    volume = await pool.find(target.volume)
    if not overwrite:
        raise BadInput(
            f"{target} is a device that exists, {volume.path}: all that is on it would be gone",
            hint="--overwrite, if that is meant",
        )
    if format_ not in (None, volume.format):
        raise BadInput(f"{target} is a device, and {volume.format}", hint=f"--format {volume.format}")
    if volume.size < size:
        raise Shortage(
            f"{target} has {volume.size // MIB} MiB, and {size // MIB} MiB are to go there",
            hint="wirt volume list shows which is large enough",
        )
    check_free(environment, target, writes=True)
    check_nobodys(environment, target)
    await check_path_free(environment, volume.path)
    await pool.activate(target.volume)
    return {"target": str(target), "new": False, "size": volume.size, "format": str(volume.format)}
