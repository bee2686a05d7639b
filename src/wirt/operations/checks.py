"""What must be so before a domain can start: looked at before anything is done, told with its remedy."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping

from wirt.model.devices import DiskSpec
from wirt.model.domain import Domain, DomainConfig
from wirt.model.errors import ConfigError, ResourceBusy, Unavailable
from wirt.model.storage import Holder, Volume
from wirt.operations.environment import Environment
from wirt.operations.volumes_domain import names_of, volumes_of
from wirt.ports.storage import Identity

DISKS_RELEASED = "disks-released"
"""In an incarnation's notes: the run has ended and let go of its disks (``rename-restart``)."""


def check_files(environment: Environment, config: DomainConfig) -> None:
    """Every file that the configuration names can be opened. ``ConfigError`` with the key of the first that
    can't. Volumes are their pool's business."""
    named = {"kernel": config.kernel, "ramdisk": config.ramdisk, "firmware": config.firmware_path}
    for key, path in named.items():
        if path is not None:
            _check_file(environment, key, path, write=False)
    for disk in config.disks:
        if disk.target is not None and disk.volume is None:
            _check_file(environment, "disk", disk.target, write=disk.writable and not disk.cdrom)


async def check_disks_free(environment: Environment, uuid: object, config: DomainConfig) -> None:
    """No other running domain writes a disk of this one, whatever the two call it. ``ResourceBusy`` names the
    other. (Programs outside wirt are found out by the hypervisor's own lock on the image.)"""
    holders = environment.pools.holders
    for ref, holder in volumes_of(config.disks, Holder(holders.host, str(uuid))).items():
        holders.check(ref, holder, names_of(environment))
    mine = [disk for disk in config.disks if disk.target is not None]
    pairs = [
        (disk, other, theirs)
        for disk in mine
        for other, theirs in _others(environment, uuid)
        if _clash(disk, theirs)
    ]
    identities = await _identities(environment, [disk for a, _, b in pairs for disk in (a, b)])
    for disk, other, theirs in pairs:
        if disk.target == theirs.target or _same(identities, disk, theirs):
            called = "" if disk.target == theirs.target else f" (as {theirs.target})"
            raise ResourceBusy(
                f"{disk.target} is a disk of domain {other.name}{called}, which runs",
                hint=f"wirt shutdown {other.name} first, or give this domain a copy",
            )


async def check_path_free(environment: Environment, path: str) -> None:
    """``ResourceBusy`` if a domain that runs has ``path``, or a part of it, whatever it calls it."""
    if environment.storage is None:
        return
    theirs = list(_others(environment, None))
    identities = await _identities(environment, [disk for _, disk in theirs])
    mine = (await environment.storage.identify({path})).get(path)
    for domain, disk in theirs:
        other = identities.get(disk.target or "")
        if mine is not None and other is not None and mine.overlaps(other):
            raise ResourceBusy(
                f"{path} is a disk of domain {domain.name}, which runs", hint=f"wirt shutdown {domain.name} first"
            )


def _others(environment: Environment, uuid: object) -> Iterator[tuple[Domain, DiskSpec]]:
    for other in environment.domains:
        run = other.incarnation
        if other.uuid != uuid and run is not None and DISKS_RELEASED not in run.notes:
            yield from ((other, disk) for disk in other.config.disks if disk.target is not None)


async def _identities(environment: Environment, disks: Collection[DiskSpec]) -> Mapping[str, Identity]:
    """What the targets lead to, by target. Those in a pool that is away can't be had by anybody else now."""
    if environment.storage is None:
        return {}
    volumes: dict[str, Volume] = {}
    for disk in disks:
        if disk.volume is not None and disk.target not in volumes:
            with contextlib.suppress(Unavailable):
                volumes |= await environment.pools.resolve((disk,))
    paths = {disk.target: disk.target for disk in disks if disk.target is not None}
    paths |= {target: volume.path for target, volume in volumes.items()}
    found = await environment.storage.identify(set(paths.values()))
    return {target: found[path] for target, path in paths.items() if path in found}


def _same(identities: Mapping[str, Identity], disk: DiskSpec, theirs: DiskSpec) -> bool:
    mine, other = identities.get(disk.target or ""), identities.get(theirs.target or "")
    return mine is not None and other is not None and mine.overlaps(other)


def _check_file(environment: Environment, key: str, path: str, *, write: bool) -> None:
    missing = environment.machine.missing(path, write=write)
    if missing is not None:
        raise ConfigError(f"{path}: {missing}", key=key, hint=_hint(key, missing, write=write))


def _hint(key: str, missing: str, *, write: bool) -> str:
    if key == "kernel":
        return "name a kernel that is there; for a first try: wirt image build tiny"
    if write and "writable" in missing:
        return "make it writable for the user that runs wirtd, or give the disk access=ro"
    return "check the path; relative ones start from the directory that wirt was called in"


def _clash(disk: DiskSpec, theirs: DiskSpec) -> bool:
    return (
        (theirs.writable or disk.writable)
        and not (theirs.cdrom and disk.cdrom)
        and not (theirs.specification == "shared" and disk.specification == "shared")
    )
