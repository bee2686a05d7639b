"""The pools that this host can have, and how each is opened."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeVar

from wirt.model.errors import BadInput, NotFound, Unavailable
from wirt.model.storage import PoolConfig, PoolType
from wirt.plan.engine import Medium
from wirt.ports.storage import Identity, Pool
from wirt.storage import block, lvm, nfs, proofs
from wirt.storage.directory import DirectoryPool, is_plain_directory
from wirt.storage.media import media_of
from wirt.storage.waiting import Patient

IDENTIFY_S = 5.0
_SYS_BLOCK = Path("/sys/dev/block")
T = TypeVar("T")


class HostStorage:
    """``mounts`` is where pools on servers are mounted."""

    def __init__(self, mounts: Path) -> None:
        self._mounts = mounts
        self._near = Patient("a file system that disks lie on", IDENTIFY_S)
        self._far = Patient("a server that disks lie on", IDENTIFY_S)
        self._servers: dict[PoolConfig, Patient] = {}

    def types(self) -> tuple[PoolType, ...]:
        return tuple(each for each in PoolType if self.reason(each) is None)

    def reason(self, pool_type: PoolType) -> str | None:
        if pool_type is PoolType.FAKE:
            return "it is for tests: the fake hypervisor has it"
        if pool_type in (PoolType.LVM, PoolType.LVMTHIN):
            return lvm.missing()
        if pool_type is PoolType.NFS:
            return nfs.missing()
        if pool_type is PoolType.BLOCK and os.geteuid() != 0:
            return "disks are root's"
        return None

    async def make(self, config: PoolConfig) -> bool:
        """Of devices nothing is made: it is looked whether the host uses them."""
        self._check(config)
        if config.type is PoolType.BLOCK:
            for path in block.devices_of(config).values():
                await asyncio.to_thread(block.check_unused, path)
        return config.type is PoolType.DIR and await asyncio.to_thread(_make_directory, config)

    async def unmake(self, config: PoolConfig) -> None:
        if config.type is PoolType.DIR:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(Path(config.target).rmdir)

    async def open(self, config: PoolConfig) -> Pool:
        self._check(config)
        if config.type in (PoolType.LVM, PoolType.LVMTHIN):
            return await lvm.open_lvm(config)
        if config.type is PoolType.NFS:
            patient = self._servers.setdefault(config, nfs.patient_for(config))
            return await nfs.open_nfs(config, self._mounts, patient)
        if config.type is PoolType.BLOCK:
            return block.BlockPool(config, block.devices_of(config))
        return await self._open_directory(config)

    async def identify(self, paths: Collection[str]) -> Mapping[str, Identity]:
        return await self._of_each(_identities, paths)

    async def media_of(self, paths: Collection[str]) -> Mapping[str, Medium]:
        return await self._of_each(media_of, paths)

    async def lay_proof(self, path: str, token: str) -> bool:
        try:
            return await self._who_waits(path)(proofs.lay, path, token)
        except Unavailable:
            return False

    async def sees_proof(self, path: str, token: str) -> bool:
        try:
            return await self._who_waits(path)(proofs.seen, path, token)
        except Unavailable:
            return False

    async def take_proof(self, path: str, token: str) -> None:
        with contextlib.suppress(Unavailable):
            await self._who_waits(path)(proofs.take, path, token)

    async def stamps(self, paths: Collection[str]) -> Mapping[str, str]:
        return await self._of_each(_stamps, paths)

    async def _of_each(
        self, look: Callable[[Collection[str]], dict[str, T]], paths: Collection[str]
    ) -> dict[str, T]:
        """A server of a pool that has gone hides what lies there, and nothing else."""
        far = {path for path in paths if self._is_far(path)}
        found: dict[str, T] = {}
        for some, patient in ((set(paths) - far, self._near), (far, self._far)):
            if some:
                with contextlib.suppress(Unavailable):
                    found |= await patient(look, some)
        return found

    def _is_far(self, path: str) -> bool:
        return PurePosixPath(path).is_relative_to(self._mounts)

    def _who_waits(self, path: str) -> Patient:
        return self._far if self._is_far(path) else self._near

    def _check(self, config: PoolConfig) -> None:
        reason = self.reason(config.type)
        if reason is not None:
            able = ", ".join(self.types())
            raise Unavailable(f"this host can't have {config.type} pools: {reason}", hint=f"it can have: {able}")

    async def _open_directory(self, config: PoolConfig) -> Pool:
        path = Path(config.target)
        if not await asyncio.to_thread(is_plain_directory, path):
            raise NotFound(f"{path} is no directory", hint="make it, or name another with --target")
        return DirectoryPool(config, path)


def _make_directory(config: PoolConfig) -> bool:
    path = Path(config.target)
    if not path.is_absolute():
        raise BadInput(f"{path} is no absolute path", hint="--target /srv/wirt")
    try:
        path.mkdir(mode=0o711, parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise Unavailable(f"{path} can't be made: {error.strerror}") from error
    return True


def _identities(paths: Collection[str]) -> dict[str, Identity]:
    found = {}
    for path in paths:
        try:
            facts = os.stat(path)  # noqa: PTH116 (one call a path, and there may be a thousand)
        except OSError:
            continue
        if stat.S_ISBLK(facts.st_mode):
            found[path] = _device(facts.st_rdev)
        else:
            found[path] = Identity(f"file {facts.st_dev}:{facts.st_ino}")
    return found


def _stamps(paths: Collection[str]) -> dict[str, str]:
    """Size and time of the last change of content. A copy that keeps both is as good as the file; one that does
    not (``cp``) counts as written."""
    found = {}
    for path in paths:
        try:
            facts = os.stat(path)  # noqa: PTH116 (one call a path, and there may be a thousand)
        except OSError:
            continue
        if stat.S_ISREG(facts.st_mode):
            found[path] = f"{facts.st_size} {facts.st_mtime_ns}"
    return found


def _device(number: int) -> Identity:
    """A partition is a directory within its disk's (Linux, Documentation/ABI/stable/sysfs-block)."""
    name = f"{os.major(number)}:{os.minor(number)}"
    place = _SYS_BLOCK / name
    within = None
    if (place / "partition").exists():
        within = f"device {(place.resolve().parent / 'dev').read_text().strip()}"
    return Identity(f"device {name}", within)
