"""What must be so before a domain can start: looked at before anything is done, told with its remedy."""

from __future__ import annotations

from wirt.model.devices import DiskSpec
from wirt.model.domain import Domain, DomainConfig
from wirt.model.errors import ConfigError, ResourceBusy
from wirt.operations.environment import Environment

DISKS_RELEASED = "disks-released"
"""In an incarnation's notes: the run has ended and let go of its disks (``rename-restart``)."""


def check_files(environment: Environment, config: DomainConfig) -> None:
    """Every file that the configuration names can be opened. ``ConfigError`` with the key of the first that
    can't."""
    named = {"kernel": config.kernel, "ramdisk": config.ramdisk, "firmware": config.firmware_path}
    for key, path in named.items():
        if path is not None:
            _check_file(environment, key, path, write=False)
    for disk in config.disks:
        if disk.target is not None:
            _check_file(environment, "disk", disk.target, write=disk.writable and not disk.cdrom)


def check_disks_free(environment: Environment, uuid: object, config: DomainConfig) -> None:
    """No other running domain writes a disk of this one. ``ResourceBusy`` names the other. (Programs outside
    wirt are found out by the hypervisor's own lock on the image.)"""
    for disk in config.disks:
        if disk.target is None:
            continue
        for other in environment.domains:
            if other.uuid != uuid and other.incarnation is not None and _clash(disk, other):
                raise ResourceBusy(
                    f"{disk.target} is a disk of domain {other.name}, which runs",
                    hint=f"wirt shutdown {other.name} first, or give this domain a copy",
                )


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


def _clash(disk: DiskSpec, other: Domain) -> bool:
    if other.incarnation is not None and DISKS_RELEASED in other.incarnation.notes:
        return False
    return any(
        theirs.target == disk.target
        and (theirs.writable or disk.writable)
        and not (theirs.cdrom and disk.cdrom)
        and not (theirs.specification == "shared" and disk.specification == "shared")
        for theirs in other.config.disks
    )
