"""Pools of logical volumes: a volume group (``lvm``), or a thin pool in one (``lvmthin``).

All logical volumes of the group are listed, since Xen's users keep their guests there; only those that wirt made
(they have the tag ``wirt``) are ever removed or cut. One that is being made has the tag ``wirt-part`` instead: it
is no volume yet. A new volume, and what a volume grows by, reads as zeroes: what was there before was another
guest's.
Sources: lvm(8), lvcreate(8), lvs(8), lvmreport(7).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, NameInUse, NotFound, ResourceBusy, Shortage, Unavailable, WirtError
from wirt.model.storage import (
    Capability,
    PoolConfig,
    PoolType,
    PoolUsage,
    Preallocation,
    Volume,
    check_volume_name,
)
from wirt.model.units import MIB
from wirt.ports.storage import NewVolume
from wirt.storage.programs import Failed, attempt, failed

TAG, PART_TAG = "wirt", "wirt-part"
ZERO_AT_ONCE = 64 * MIB
_BLKZEROOUT = 0x127F  # linux/fs.h
_FIELDS = "lv_name,lv_size,lv_attr,lv_tags,origin,pool_lv,data_percent,lv_device_open"
_THIN = frozenset((Capability.CREATE, Capability.GROW, Capability.CLONE, Capability.SNAPSHOT, Capability.THIN))
_THICK = frozenset((Capability.CREATE, Capability.GROW, Capability.PREALLOCATE))


@dataclass(frozen=True, slots=True)
class _Logical:
    name: str
    size: int
    attributes: str
    tags: frozenset[str]
    origin: str
    pool: str
    share: float
    open: bool


class LvmPool:
    formats = (DiskFormat.RAW,)

    def __init__(self, config: PoolConfig, group: str, thin_pool: str | None) -> None:
        self.config = config
        self.capabilities = _THICK if thin_pool is None else _THIN
        self._group = group
        self._thin_pool = thin_pool

    async def usage(self) -> PoolUsage:
        logicals = await self._logicals()
        volumes = [self._volume(each) for each in logicals.values() if self._is_volume(each)]
        capacity, available = await self._room(logicals)
        return PoolUsage(
            capacity=capacity,
            available=available,
            allocated=sum(volume.allocated for volume in volumes),
            promised=sum(volume.size for volume in volumes),
        )

    async def file_system(self) -> None:
        """Its volumes are devices."""

    async def volumes(self) -> tuple[Volume, ...]:
        logicals = sorted((await self._logicals()).values(), key=lambda each: each.name)
        return tuple(self._volume(each) for each in logicals if self._is_volume(each))

    async def find(self, name: str) -> Volume:
        return self._volume(await self._find(name))

    async def create(self, wanted: NewVolume) -> Volume:
        check_volume_name(wanted.name)
        if wanted.format is not DiskFormat.RAW:
            raise BadInput(f"{self.config.name} makes no {wanted.format} volumes", hint="--format raw")
        logicals = await self._logicals()
        if wanted.name in logicals:
            raise self._taken(wanted.name)
        what = f"{self.config.name}/{wanted.name} can't be made"
        if self._thin_pool is None:
            _, available = await self._room(logicals)
            self._check_room(what, wanted.size, available)
            words = ["-L", f"{wanted.size}b", self._group]
        elif wanted.preallocation is Preallocation.FULL:
            raise BadInput(
                f"{what}: volumes of a thin pool take room when they are written", hint="use a lvm pool"
            )
        else:
            words = ["-V", f"{wanted.size}b", "-T", f"{self._group}/{self._thin_pool}"]
        await self._make(wanted.name, what, words, zero=self._thin_pool is None)
        return await self.find(wanted.name)

    async def grow(self, name: str, size: int) -> Volume:
        before = await self._find(name)
        if size <= before.size:
            return self._volume(before)
        what = f"{self.config.name}/{name} can't be made larger"
        if self._thin_pool is None:
            _, available = await self._room(await self._logicals())
            self._check_room(what, size - before.size, available)
        await self._lvm("lvextend", "-L", f"{size}b", self._full(name), what=what)
        after = await self._find(name)
        if self._thin_pool is None and self._is_active(after):
            await _zero(self._path(name), before.size, after.size, what)
        return self._volume(after)

    async def shrink(self, name: str, size: int) -> Volume:
        logical = await self._own(name, "cut off")
        if size < logical.size:
            what = f"{self.config.name}/{name} can't be made smaller"
            await self._lvm("lvreduce", "-y", "-f", "-L", f"{size}b", self._full(name), what=what)
        return await self.find(name)

    async def clone(self, name: str, new: str) -> Volume:
        check_volume_name(new)
        await self._find(name)
        if self._thin_pool is None:
            raise BadInput(f"{self.config.name} is a lvm pool, which has no clones", hint="wirt volume copy")
        if new in await self._logicals():
            raise self._taken(new)
        what = f"{self.config.name}/{name} can't be cloned"
        await self._make(new, what, ["-s", self._full(name)], zero=False)
        return await self.find(new)

    async def snapshot(self, name: str, kept: str) -> Volume:
        """A thin volume shares blocks with another and depends on it in nothing (lvmthin(7))."""
        return await self.clone(name, kept)

    async def layer(self, new: str, on: str, *, now: str | None = None) -> Volume:
        raise BadInput(f"{self.config.name} is a {self.config.type} pool, whose volumes stand on nothing")

    async def rename(self, name: str, new: str) -> Volume:
        check_volume_name(new)
        logicals = await self._logicals()
        if name in logicals or new not in logicals:
            await self._own(name, "renamed")
            if new in logicals:
                raise self._taken(new)
            what = f"{self.config.name}/{name} can't be renamed"
            await self._lvm("lvrename", self._full(name), self._full(new), what=what)
        return await self.find(new)

    async def remove(self, name: str) -> None:
        try:
            logical = await self._own(name, "removed")
        except NotFound:
            return
        if logical.open:
            raise ResourceBusy(f"{self._path(name)} is open", hint=f"who has it: fuser -v {self._path(name)}")
        await self._lvm(
            "lvremove", "-y", "-f", self._full(name), what=f"{self.config.name}/{name} can't be removed"
        )

    async def activate(self, name: str) -> Volume:
        logical = await self._find(name)
        if not self._is_active(logical):
            what = f"{self.config.name}/{name} can't be activated"
            await self._lvm("lvchange", "-ay", "-K", self._full(name), what=what)
        return self._volume(logical)

    async def deactivate(self, name: str) -> None:
        """One that something else has open stays as it is, and so does one that is not wirt's."""
        try:
            logical = await self._find(name)
        except NotFound:
            return
        if self._is_active(logical) and not logical.open and TAG in logical.tags:
            with contextlib.suppress(WirtError):
                await self._lvm("lvchange", "-an", self._full(name), what="it can't be deactivated")

    async def tidy(self) -> tuple[str, ...]:
        parts = [each.name for each in (await self._logicals()).values() if PART_TAG in each.tags]
        for name in parts:
            await self._lvm("lvremove", "-y", "-f", self._full(name), what=f"{name} can't be tidied away")
        return tuple(
            f"{self._path(each)} was left by something that did not finish, and is gone" for each in parts
        )

    async def close(self) -> None:
        """Nothing is held."""

    async def _make(self, name: str, what: str, words: list[str], *, zero: bool) -> None:
        """Under its name at once, since of two that want it one must get it, but as no volume until it is done."""
        skip = ["-kn"] if self._thin_pool is not None else []
        plain = ["-Wn", "-Zn"] if self._thin_pool is None and not has_udev() else []
        try:
            await self._lvm("lvcreate", "-y", *skip, *plain, "-n", name, "--addtag", PART_TAG, *words, what=what)
        except _Exists as error:
            raise self._taken(name) from error
        try:
            logical = (await self._logicals())[name]
            if zero:
                await _zero(self._path(name), 0, logical.size, what)
            origin_tag = ["--deltag", TAG] if TAG in logical.tags else []
            await self._lvm("lvchange", *origin_tag, "--deltag", PART_TAG, self._full(name), what=what)
            await self._lvm("lvchange", "--addtag", TAG, self._full(name), what=what)
        except BaseException:
            with contextlib.suppress(WirtError):
                await self._lvm("lvremove", "-y", "-f", self._full(name), what=what)
            raise

    def _check_room(self, what: str, wanted: int, available: int) -> None:
        if wanted > available:
            raise Shortage(
                f"{what}: it needs {wanted // MIB} MiB and {self.config.name} has {available // MIB} MiB left",
                hint=f"vgextend {self._group} DEVICE adds room; wirt pool list shows which pool has some",
            )

    def _taken(self, name: str) -> NameInUse:
        return NameInUse(f"there is a volume {self.config.name}/{name} already", hint="choose another name")

    async def _room(self, logicals: dict[str, _Logical]) -> tuple[int, int]:
        if self._thin_pool is not None:
            pool = logicals.get(self._thin_pool)
            if pool is None:
                raise NotFound(f"there is no thin pool {self._group}/{self._thin_pool}", hint="lvs shows all")
            return pool.size, int(pool.size * (1 - pool.share / 100))
        rows = await self._report("vgs", "-o", "vg_size,vg_free", self._group)
        return int(rows[0]["vg_size"]), int(rows[0]["vg_free"])

    async def _find(self, name: str) -> _Logical:
        logical = (await self._logicals()).get(name)
        if logical is None or not self._is_volume(logical):
            raise NotFound(
                f"there is no volume {name} in {self.config.name}", hint=f"wirt volume list {self.config.name}"
            )
        return logical

    async def _own(self, name: str, done: str) -> _Logical:
        logical = await self._find(name)
        if TAG not in logical.tags:
            raise BadInput(
                f"{self._path(name)} was not made by wirt, and is not {done}",
                hint=f"if it may be: lvchange --addtag {TAG} {self._full(name)}",
            )
        return logical

    def _is_volume(self, logical: _Logical) -> bool:
        """Not: pools, parts of mirrors, thick snapshots, what is being made, and other pools' thin volumes."""
        if PART_TAG in logical.tags or logical.name == self._thin_pool:
            return False
        if self._thin_pool is not None:
            return logical.pool == self._thin_pool and logical.attributes[:1] == "V"
        return logical.attributes[:1] in "-moOr"

    @staticmethod
    def _is_active(logical: _Logical) -> bool:
        return logical.attributes[4:5] == "a"

    def _volume(self, logical: _Logical) -> Volume:
        allocated = logical.size if self._thin_pool is None else int(logical.size * logical.share / 100)
        path = self._path(logical.name)
        return Volume(self.config.name, logical.name, DiskFormat.RAW, logical.size, allocated, path)

    def _path(self, name: str) -> str:
        return f"/dev/{self._group}/{name}"

    def _full(self, name: str) -> str:
        return f"{self._group}/{name}"

    async def _logicals(self) -> dict[str, _Logical]:
        rows = await self._report("lvs", "-o", _FIELDS, self._group)
        return {row["lv_name"]: _logical(row) for row in rows}

    async def _report(self, program: str, *words: str) -> list[dict[str, Any]]:
        what = f"the volume group {self._group} can't be read"
        options = ("--reportformat", "json", "--units", "b", "--nosuffix")
        out = await self._lvm(program, *options, *words, what=what)
        key = {"lvs": "lv", "vgs": "vg"}[program]
        try:
            rows: list[dict[str, Any]] = json.loads(out)["report"][0][key]
        except (ValueError, KeyError, IndexError) as error:
            raise Unavailable(f"{what}: {program} says something that is no report") from error
        return rows

    async def _lvm(self, program: str, *words: str, what: str) -> str:
        try:
            return await attempt(program, *settings(), *words, what=what)
        except Failed as error:
            if "already exists in volume group" in error.said:
                raise _Exists(what) from error
            if "not found" in error.said and f'group "{self._group}"' in error.said:
                raise NotFound(
                    f"there is no volume group {self._group}", hint=f"vgs shows all; vgcreate {self._group} DEVICE"
                ) from error
            raise failed(what, error.said) from error


class _Exists(WirtError):
    """The name was given away between looking and taking."""


def settings() -> tuple[str, ...]:
    """Without udev nobody else makes the device nodes, or answers when they are there (lvm.conf(5))."""
    if has_udev():
        return ()
    return ("--config", "activation { udev_sync=0 udev_rules=0 } devices { obtain_device_list_from_udev=0 }")


def has_udev() -> bool:
    return Path("/run/udev/control").exists()


def missing() -> str | None:
    """Why this host has no logical volumes."""
    if os.geteuid() != 0:
        return "logical volumes are root's"
    if shutil.which("lvcreate") is None:
        return "LVM is not installed (Debian: apt-get install lvm2)"
    if not Path("/dev/mapper/control").exists():
        return "its kernel has no device mapper (modprobe dm_mod)"
    return None


async def open_lvm(config: PoolConfig) -> LvmPool:
    group, slash, thin = config.target.partition("/")
    if bool(slash) is not (config.type is PoolType.LVMTHIN) or not group or (slash and not thin):
        form = "GROUP/THINPOOL" if config.type is PoolType.LVMTHIN else "GROUP, the name of a volume group"
        raise BadInput(f"{config.target!r} is no target of a {config.type} pool", hint=f"--target {form}")
    for name in (group, thin):
        if name:
            check_volume_name(name)
    pool = LvmPool(config, group, thin or None)
    await pool.usage()
    return pool


async def _zero(path: str, start: int, end: int, what: str) -> None:
    """Part by part, so that a cancellation is heard."""
    try:
        descriptor = await asyncio.to_thread(os.open, path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for begin in range(start, end, ZERO_AT_ONCE):
                span = struct.pack("QQ", begin, min(ZERO_AT_ONCE, end - begin))
                await asyncio.to_thread(fcntl.ioctl, descriptor, _BLKZEROOUT, span)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unavailable(f"{what}: {path} can't be zeroed: {error.strerror}") from error


def _logical(row: dict[str, Any]) -> _Logical:
    return _Logical(
        name=row["lv_name"],
        size=int(row["lv_size"]),
        attributes=row["lv_attr"],
        tags=frozenset(row["lv_tags"].split(",")) - {""},
        origin=row["origin"],
        pool=row["pool_lv"],
        share=float(row["data_percent"] or 0),
        open=row["lv_device_open"] == "open",
    )
