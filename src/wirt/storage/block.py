"""Pools of block devices that exist: partitions and whole disks, each a volume.

They are named by what stays the same when disks are plugged differently (``/dev/disk/by-*``), and one that the
host itself uses is refused: a guest that writes to a mounted partition destroys it. The kernel's word is the last
one: a device that anything of its own has can't be opened with O_EXCL (open(2)).
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
from pathlib import Path

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, NotFound, ResourceBusy, Unavailable
from wirt.model.storage import Capability, PoolConfig, PoolUsage, Volume, check_volume_name
from wirt.ports.storage import NewVolume

_STABLE = ("/dev/disk/by-", "/dev/mapper/")
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9+_.-]")
_LVM_LABELS = (b"LABELONE",)
_SECTOR = 512


class BlockPool:
    capabilities: frozenset[Capability] = frozenset()
    formats = (DiskFormat.RAW,)

    def __init__(self, config: PoolConfig, devices: dict[str, str]) -> None:
        self.config = config
        self._devices = devices

    async def usage(self) -> PoolUsage:
        whole = sum(volume.size for volume in await self.volumes())
        return PoolUsage(capacity=whole, available=0, allocated=whole, promised=whole)

    async def file_system(self) -> None:
        """Its volumes are devices."""

    async def volumes(self) -> tuple[Volume, ...]:
        """Without those that are unplugged: ``find`` tells which."""
        return await asyncio.to_thread(self._volumes)

    async def find(self, name: str) -> Volume:
        return await asyncio.to_thread(self._volume, name)

    async def create(self, wanted: NewVolume) -> Volume:
        raise self._fixed("makes no volumes")

    async def grow(self, name: str, size: int) -> Volume:
        """Devices keep their size; room that is there already is no growth."""
        volume = await self.find(name)
        if size > volume.size:
            raise self._fixed("can't make them larger")
        return volume

    async def shrink(self, name: str, size: int) -> Volume:
        raise self._fixed("can't make them smaller")

    async def clone(self, name: str, new: str) -> Volume:
        await self.find(name)
        raise self._fixed("has no clones")

    async def snapshot(self, name: str, kept: str) -> Volume:
        await self.find(name)
        raise self._fixed("has no snapshots")

    async def layer(self, new: str, on: str, *, now: str | None = None) -> Volume:
        await self.find(on if now is None else now)
        raise self._fixed("puts nothing on a device")

    async def rename(self, name: str, new: str) -> Volume:
        await self.find(name)
        raise self._fixed("has names that stay")

    async def remove(self, name: str) -> None:
        if name in self._devices:
            raise self._fixed("removes none")

    async def activate(self, name: str) -> Volume:
        """It may have been mounted since the pool was made."""
        volume = await self.find(name)
        await asyncio.to_thread(check_unused, volume.path)
        return volume

    async def deactivate(self, name: str) -> None:
        """A device needs nothing."""

    async def tidy(self) -> tuple[str, ...]:
        return ()

    async def close(self) -> None:
        """Nothing is held."""

    def _fixed(self, what: str) -> BadInput:
        return BadInput(
            f"{self.config.name} is a block pool: its volumes are devices that exist, and it {what}",
            hint="wirt pool list shows which pools make volumes",
        )

    def _volumes(self) -> tuple[Volume, ...]:
        there = (name for name, path in sorted(self._devices.items()) if Path(path).is_block_device())
        return tuple(self._volume(name) for name in there)

    def _volume(self, name: str) -> Volume:
        if name not in self._devices:
            raise NotFound(
                f"there is no volume {name} in {self.config.name}", hint=f"wirt volume list {self.config.name}"
            )
        path = self._devices[name]
        size = size_of(path)
        return Volume(self.config.name, name, DiskFormat.RAW, size, size, path)


def devices_of(config: PoolConfig) -> dict[str, str]:
    """Volumes' names and their devices, of ``[NAME=]DEVICE,...``. ``BadInput`` for a name that need not mean the
    same device after the next boot."""
    found: dict[str, str] = {}
    for word in filter(None, config.target.split(",")):
        name, equals, path = word.partition("=")
        if not equals:
            name, path = _NOT_A_NAME.sub("_", Path(word).name).lstrip("-"), word
        check_volume_name(name)
        if name in found:
            raise BadInput(f"{name} names two devices", hint="give one another name: NAME=DEVICE")
        if not path.startswith(_STABLE) and not _is_logical_volume(path):
            stable = stable_names(path)
            hint = f"write {stable[0]}" if stable else "write a name from /dev/disk/by-*"
            raise BadInput(f"{path} may be another device after the next boot", hint=hint)
        found[name] = path
    if not found:
        raise BadInput("a block pool needs devices", hint="--target /dev/disk/by-id/...,/dev/disk/by-partuuid/...")
    return found


def stable_names(path: str) -> list[str]:
    """What udev calls the device, the most telling first."""
    real = os.path.realpath(path)
    return [
        str(link)
        for kind in ("by-id", "by-partuuid", "by-uuid", "by-path")
        for link in sorted(Path("/dev/disk", kind).glob("*"))
        if os.path.realpath(link) == real
    ]


def _is_logical_volume(path: str) -> bool:
    return Path(path).is_symlink() and Path(os.path.realpath(path)).name.startswith("dm-")


def size_of(path: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise Unavailable(
            f"{path}: {(error.strerror or 'it is not there').lower()}", hint="is it plugged in?"
        ) from error
    try:
        if not stat.S_ISBLK(os.fstat(descriptor).st_mode):
            raise BadInput(f"{path} is no block device", hint="for files there are dir pools")
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def check_unused(path: str) -> None:
    """``ResourceBusy`` says what the host uses ``path``, or a part of it, for."""
    size_of(path)
    number = os.stat(path).st_rdev  # noqa: PTH116
    whole = Path("/sys/dev/block", f"{os.major(number)}:{os.minor(number)}").resolve()
    for place in (whole, *(part.parent for part in sorted(whole.glob("*/partition")))):
        use = _use_of(place)
        if use is not None:
            part = "" if place == whole else f"its partition {place.name} "
            raise ResourceBusy(f"{path} can't be a guest's: {part}{use}", hint="free it first, or choose another")
    if _has_lvm_label(path):
        raise ResourceBusy(
            f"{path} can't be a guest's: it is a physical volume of LVM",
            hint="wirt pool create NAME --type lvm uses its group; pvremove makes it an ordinary device again",
        )
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise ResourceBusy(
                f"{path} can't be a guest's: the host's kernel uses it", hint="lsblk shows for what"
            ) from None
        raise Unavailable(f"{path} can't be opened: {error.strerror}") from error


def _use_of(place: Path) -> str | None:
    """``place`` is the device in sysfs."""
    number = (place / "dev").read_text().strip()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        row = line.split(" ")
        if row[2] == number:
            return f"is mounted at {row[4]}"
    for line in Path("/proc/swaps").read_text().splitlines()[1:]:
        swap = line.split()[0]
        if Path(swap).exists() and _number(swap) == number:
            return "is used for swapping"
    holders = sorted(each.name for each in (place / "holders").glob("*"))
    return f"is held by {', '.join(holders)}" if holders else None


def _number(path: str) -> str:
    facts = os.stat(path)  # noqa: PTH116
    return f"{os.major(facts.st_rdev)}:{os.minor(facts.st_rdev)}" if stat.S_ISBLK(facts.st_mode) else ""


def _has_lvm_label(path: str) -> bool:
    """In one of the first four sectors (LVM2, lib/label/label.h)."""
    with open(path, "rb") as device:  # noqa: PTH123
        start = device.read(4 * _SECTOR)
    return any(start[sector * _SECTOR :][:8] in _LVM_LABELS for sector in range(4))
