"""Whether the disks of a saved guest are what they were: looked at when it is saved and when it is to go on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from wirt.model.domain import Domain
from wirt.model.saved import SavedDisk
from wirt.operations.environment import Environment
from wirt.operations.snapshots_steps import live
from wirt.plan.launch import LaunchPlan

Chains = Mapping[str, tuple[str, ...]]
"""By vdev, the image and all that it stands on."""


async def disks_now(environment: Environment, domain: Domain) -> tuple[SavedDisk, ...]:
    """Of a run that stands still, and has written all out."""
    found = await live(environment).disks(domain.uuid)
    stamps = await _stamps(environment, {disk.vdev: disk.chain for disk in found})
    targets = {disk.vdev: disk.volume or disk.target or "" for disk in domain.config.disks}
    return tuple(
        SavedDisk(disk.vdev, targets.get(disk.vdev, ""), disk.size, disk.writable, stamps[disk.vdev])
        for disk in found
    )


async def stamps_of_plan(environment: Environment, plan: LaunchPlan) -> Mapping[str, tuple[str, ...] | None]:
    """Of a domain that does not run, by vdev."""
    below = await environment.hypervisor.backing(plan)
    chains = {}
    for disk in plan.disks:
        if disk.path is not None:
            real = str(await asyncio.to_thread(Path(disk.path).resolve))
            chains[disk.id.removeprefix("disk-")] = (disk.path, *below.get(disk.path, below.get(real, ())))
    return await _stamps(environment, chains)


async def _stamps(environment: Environment, chains: Chains) -> Mapping[str, tuple[str, ...] | None]:
    if environment.storage is None:
        return dict.fromkeys(chains)
    found = await environment.storage.stamps({path for chain in chains.values() for path in chain})
    return {
        vdev: tuple(found[path] for path in chain) if all(path in found for path in chain) else None
        for vdev, chain in chains.items()
    }


def may_write(domain: Domain) -> tuple[str, ...]:
    """The disks that it may write, by vdev."""
    return tuple(disk.vdev for disk in domain.config.disks if disk.writable and not disk.cdrom)
