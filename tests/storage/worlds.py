"""What surrounds a pool, for a suite that the fake and the real adapters all pass."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Protocol

from wirt.model.storage import Capability, PoolConfig, PoolType, Volume
from wirt.ports.storage import Pool
from wirt.storage.directory import PART, DirectoryPool
from wirt.storage.fake import FakeMedium, FakePool, FakeStorage
from wirt.storage.lvm import PART_TAG, LvmPool
from wirt.storage.nfs import open_nfs


class World(Protocol):
    """A pool, and what is behind it."""

    pool: Pool
    size: int
    """What the pool can make a volume of at least."""

    def interrupted(self) -> None:
        """Something was half way through making a volume when the power failed."""
        ...

    def write(self, volume: Volume, data: bytes) -> None:
        """As a guest does to the first bytes of its disk."""
        ...

    def read(self, volume: Volume, length: int) -> bytes: ...

    def seen(self, volume: Volume, length: int) -> bytes:
        """The first bytes as a guest would read them, whatever the volume stands on."""
        ...


class DirectoryWorld:
    size = 1 << 20

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self.pool: Pool = DirectoryPool(PoolConfig("default", PoolType.DIR, str(directory)), directory)

    def interrupted(self) -> None:
        (self.directory / f".web{PART}0123").write_bytes(b"half")

    def write(self, volume: Volume, data: bytes) -> None:
        with Path(volume.path).open("r+b") as file:
            file.write(data)

    def read(self, volume: Volume, length: int) -> bytes:
        with Path(volume.path).open("rb") as file:
            return file.read(length)

    def seen(self, volume: Volume, length: int) -> bytes:
        source = ["-f", str(volume.format), "-O", "raw", "bs=512", "count=1", f"if={volume.path}"]
        out = self.directory.parent / "seen"
        subprocess.run(["qemu-img", "dd", *source, f"of={out}"], check=True, timeout=100)
        return out.read_bytes()[:length]


class FakeWorld:
    size = 1 << 20

    def __init__(self) -> None:
        self.medium = FakeMedium()
        self.data: dict[str, bytes] = {}
        config = PoolConfig("default", PoolType.FAKE, "shelf")
        storage = FakeStorage({"shelf": self.medium})
        able = frozenset(set(Capability) - {Capability.SHARED, Capability.SNAPSHOT})
        self.pool: Pool = FakePool(config, storage.media["shelf"], able)

    def interrupted(self) -> None:
        self.medium.parts.append("web")

    def write(self, volume: Volume, data: bytes) -> None:
        self.data[volume.path] = data

    def read(self, volume: Volume, length: int) -> bytes:
        return self.data.get(volume.path, b"")[:length].ljust(length, b"\0")

    def seen(self, volume: Volume, length: int) -> bytes:
        while volume.path not in self.data and volume.backing is not None:
            volume = self.medium.volumes[volume.backing]
        return self.read(volume, length)


class LvmWorld:
    size = 8 << 20
    """Two extents: half of it can be cut off."""

    def __init__(self, group: str, thin_pool: str | None) -> None:
        self.group, self.thin_pool = group, thin_pool
        kind = PoolType.LVM if thin_pool is None else PoolType.LVMTHIN
        target = group if thin_pool is None else f"{group}/{thin_pool}"
        self.pool: Pool = LvmPool(PoolConfig("default", kind, target), group, thin_pool)

    def interrupted(self) -> None:
        place = (
            ["-L", "8M", self.group]
            if self.thin_pool is None
            else ["-V", "8M", "-T", f"{self.group}/{self.thin_pool}"]
        )
        subprocess.run(
            ["lvcreate", "-q", "-y", "-n", "web", "--addtag", PART_TAG, *place], check=True, timeout=100
        )

    def write(self, volume: Volume, data: bytes) -> None:
        with Path(volume.path).open("r+b", buffering=0) as device:
            device.write(data.ljust(512, b"\0"))
            os.fsync(device.fileno())

    def read(self, volume: Volume, length: int) -> bytes:
        with Path(volume.path).open("rb") as device:
            return device.read(length)

    def seen(self, volume: Volume, length: int) -> bytes:
        return self.read(volume, length)


class NfsWorld(DirectoryWorld):
    def __init__(self, directory: Path, pool: Pool) -> None:
        self.directory, self.pool = directory, pool

    @classmethod
    async def open(cls, source: str, scratch: Path) -> NfsWorld:
        config = PoolConfig("default", PoolType.NFS, "", source)
        return cls(scratch / "mounts" / "default", await open_nfs(config, scratch / "mounts"))
