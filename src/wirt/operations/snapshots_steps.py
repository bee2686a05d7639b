"""What the steps that take, go back to and remove snapshots have in common.

Arguments that these steps read from the job: ``uuid``, ``name`` (the snapshot's), ``domid`` (of the run that has
the disks; ``None``: it is off, and the job has them) and ``disks``, those that it is about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wirt.model.domain import Domain
from wirt.model.errors import IllegalState, NotFound, Unavailable
from wirt.model.snapshots import KeptDisk
from wirt.model.storage import Holder, Volume, VolumeRef
from wirt.operations.backing import forget_removed
from wirt.operations.environment import Environment
from wirt.operations.running import EnvContext, domain_of
from wirt.operations.volumes_domain import check_nothing_stands_on, names_of
from wirt.operations.volumes_steps import images_of
from wirt.ports.live_disks import LiveDisks
from wirt.ports.storage import Pool


@dataclass(frozen=True, slots=True)
class DiskWork:
    """One disk that a job is about. ``new`` is the name of the volume that is to take the place of ``volume``, and
    ``old`` what that is called then, if nobody wants it any more: names that only these jobs give."""

    vdev: str
    volume: VolumeRef
    kept: VolumeRef
    layered: bool

    @property
    def new(self) -> str:
        return f"{self.volume.volume[:105]}+wirt-next"

    @property
    def old(self) -> str:
        return f"{self.volume.volume[:105]}+wirt-old"

    def said(self) -> KeptDisk:
        return KeptDisk(self.vdev, str(self.volume), str(self.kept), self.layered)

    @classmethod
    def of(cls, disk: KeptDisk) -> DiskWork:
        return cls(disk.vdev, VolumeRef.parse(disk.volume), VolumeRef.parse(disk.kept), disk.layered)


def written(disks: Iterable[KeptDisk]) -> list[dict[str, Any]]:
    """JSON values."""
    names = ("vdev", "volume", "kept", "layered")
    return [{name: getattr(disk, name) for name in names} for disk in disks]


def disks_of(context: EnvContext) -> tuple[DiskWork, ...]:
    return tuple(
        DiskWork(each["vdev"], VolumeRef.parse(each["volume"]), VolumeRef.parse(each["kept"]), each["layered"])
        for each in context.job.arguments["disks"]
    )


def live(environment: Environment) -> LiveDisks:
    if environment.live_disks is None:
        raise Unavailable(
            "this hypervisor can't change the disks of a domain that runs", hint="shut it down first"
        )
    return environment.live_disks


def run_of(context: EnvContext) -> Domain | None:
    """The domain, if the run that the job is about still has the disks."""
    domain = context.environment.domains.get(domain_of(context).uuid)
    domid = context.job.arguments["domid"]
    if domid is None or domain is None or domain.domid != domid:
        return None
    return domain if context.environment.hypervisor.usage(domain.uuid) is not None else None


async def reserve(context: EnvContext) -> None:
    """The disks of a domain that is off are this job's from here on; those of a run stay the run's."""
    environment, domain = context.environment, domain_of(context)
    if domain.domid != context.job.arguments["domid"]:
        raise IllegalState(f"domain {domain.name} was started or ended meanwhile", hint="try again")
    for disk in disks_of(context):
        environment.pools.check_open_to_all(disk.volume.pool)
        await check_nothing_stands_on(environment, disk.volume)
    if domain.domid is None:
        holders = environment.pools.holders
        mine = Holder(holders.host, job=context.job.id)
        await holders.claim({disk.volume: mine for disk in disks_of(context)}, names_of(environment))


async def release(context: EnvContext) -> None:
    await context.environment.pools.holders.release(f"job {context.job.id}")


async def pool_of(environment: Environment, disk: DiskWork) -> Pool:
    return await environment.pools.open(disk.volume.pool)


async def find(pool: Pool, name: str) -> Volume | None:
    try:
        return await pool.find(name)
    except NotFound:
        return None


async def exchange(environment: Environment, pool: Pool, name: str, new: str, old: str) -> None:
    """``new`` is called ``name`` from now on, and what ``name`` was is called ``old``. Finishes what a crash left
    half done."""
    if await find(pool, new) is None:
        return
    await _give_away(environment, pool, name, old)
    await pool.rename(new, name)


async def exchange_back(environment: Environment, pool: Pool, name: str, new: str, old: str) -> None:
    """What :func:`exchange` did, or half did, is undone."""
    if await find(pool, old) is None:
        return
    await _give_away(environment, pool, name, new)
    await pool.rename(old, name)


async def _give_away(environment: Environment, pool: Pool, name: str, to: str) -> None:
    """What is remembered of the image that is called ``name`` goes: its path may never be used again, for the next
    one can be of another format, and whoever gets it later stands on something else."""
    volume = await find(pool, name)
    if volume is not None:
        await forget_removed(environment, await images_of([volume]))
        await pool.rename(name, to)


async def make_memory_directory(environment: Environment, domain: Domain) -> Path:
    directory = Path(environment.settings.home, "snapshots", str(domain.uuid))
    await asyncio.to_thread(directory.mkdir, mode=0o700, parents=True, exist_ok=True)
    return directory


async def remove_memory(path: str | None) -> None:
    if path is not None:
        await asyncio.to_thread(Path(path).unlink, missing_ok=True)
