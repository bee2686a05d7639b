"""Stores in directories, and disks in memory to put into them."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from wirt.plan.backup import Backup, DiskBackup
from wirt.ports.backup_store import BackupStore, Work
from wirt.ports.memory_blocks import MemoryBlocks, MemoryDisk
from wirt.storage.backup_store import DirectoryStores

UUID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def store(tmp_path: Path) -> BackupStore:
    return DirectoryStores().open(str(tmp_path / "store"), make=True)


def work(bytes_per_s: int | None = None) -> Work:
    return Work(threading.Event(), lambda size: None, bytes_per_s)


def backup(name: str, *disks: DiskBackup, at: float = 0.0, uuid: str = UUID, parent: str | None = None) -> Backup:
    return Backup(name, "web", uuid, "here", at, "fake 1", "running", 'name = "web"\n', parent, "", disks)


def keep(store: BackupStore, name: str, disk: MemoryDisk, since: Backup | None = None, at: float = 0.0) -> Backup:
    """A backup of ``disk``; with ``since`` of what has changed since the checkpoint of that name."""
    writer = store.write(name)
    try:
        changed = None if since is None else frozenset(disk.checkpoints.pop(since.id))
        disk.checkpoints[name] = set()
        blocks = MemoryBlocks(disk, frozen=bytes(disk.content), changed=changed)
        taken = writer.take("xvda", "raw", blocks, work(), since=since)
        made = backup(name, taken, at=at, parent=None if since is None else since.id)
        writer.publish(made)
    finally:
        writer.close()
    return made


def restored(store: BackupStore, made: Backup) -> bytes:
    disk = made.disks[0]
    target = MemoryDisk(disk.size)
    store.restore(made, disk.vdev, MemoryBlocks(target), work())
    return bytes(target.content)


def scribble(disk: MemoryDisk, dice: random.Random, times: int) -> None:
    for _ in range(times):
        length = dice.choice((1, 512, 4096, 65536, 200_000))
        offset = dice.randrange(max(1, len(disk.content) - length))
        data = bytes(length) if dice.random() < 0.3 else dice.randbytes(length)
        disk.write(offset, data[: len(disk.content) - offset])
