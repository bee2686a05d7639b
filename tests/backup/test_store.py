"""A directory that keeps backups: what goes in comes out, nothing half made is seen, and damage is told."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from wirt.model.errors import CorruptState, NotFound, ResourceBusy, Shortage, WirtError
from wirt.plan.backup import Backup
from wirt.ports.backup_store import BackupStore, Stopped
from wirt.ports.memory_blocks import MemoryBlocks, MemoryDisk
from wirt.storage import backup_files
from wirt.storage.backup_store import DirectoryStores

from .conftest import backup, keep, restored, scribble, work

MIB = 1024 * 1024


def files(store: BackupStore) -> list[str]:
    return sorted(str(path.relative_to(store.path)) for path in Path(store.path).rglob("*") if path.is_file())


def objects(store: BackupStore) -> list[Path]:
    return [path for path in Path(store.path, "objects").rglob("*") if path.is_file()]


@pytest.mark.parametrize("size", [512, 65536, 4 * MIB, 9 * MIB + 512])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8))])
def test_every_backup_of_a_chain_gives_back_its_own_instant(store: BackupStore, size: int, seed: int) -> None:
    dice = random.Random(f"{size}-{seed}")
    disk = MemoryDisk(size)
    made: list[Backup] = []
    then: list[bytes] = []
    for number in range(24):
        scribble(disk, dice, 3)
        since = made[-1] if made and dice.random() < 0.9 else None
        made.append(keep(store, f"b{number}", disk, since, at=number))
        then.append(bytes(disk.content))
    for each, content in zip(made, then, strict=True):
        assert restored(store, store.find(each.id)) == content
        store.verify(each, work())
    for gone in made[::3]:
        store.forget([gone.id])
    store.sweep(work())
    for number, (each, content) in enumerate(zip(made, then, strict=True)):
        if number % 3:
            assert restored(store, each) == content


def test_an_incremental_backup_moves_what_changed_and_no_more(store: BackupStore) -> None:
    disk = MemoryDisk(64 * MIB)
    disk.write(0, random.Random(1).randbytes(32 * MIB))
    first = keep(store, "first", disk)
    disk.write(5 * MIB + 7, b"x" * 10)
    disk.write(40 * MIB, b"y" * 65536)
    second = keep(store, "second", disk, first)
    assert second.disks[0].moved == 2 * 65536
    assert second.disks[0].stored < 3 * 65536


def test_what_is_there_already_is_not_stored_again(store: BackupStore) -> None:
    disk = MemoryDisk(8 * MIB)
    disk.write(0, random.Random(1).randbytes(8 * MIB))
    keep(store, "first", disk)
    again = keep(store, "second", disk)
    assert again.disks[0].stored == 0
    assert again.disks[0].moved == 8 * MIB


def test_zeroes_take_no_room(store: BackupStore) -> None:
    made = keep(store, "first", MemoryDisk(64 * MIB))
    assert made.disks[0].stored < 1024
    assert restored(store, made) == bytes(64 * MIB)


def test_nothing_is_seen_of_a_backup_before_it_is_whole(store: BackupStore) -> None:
    disk = MemoryDisk(MIB)
    disk.write(0, b"content")
    writer = store.write("half")
    writer.take("xvda", "raw", MemoryBlocks(disk), work())
    assert store.all().backups == ()
    with pytest.raises(NotFound):
        store.find("half")
    writer.close()
    before = files(store)
    store.discard("half")
    assert len(files(store)) < len(before)
    assert objects(store) == []
    assert not list(Path(store.path, "partial").iterdir())


@pytest.mark.parametrize("seed", range(16))
def test_a_full_place_is_told_with_numbers_and_nothing_is_left(
    store: BackupStore, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th write that settles fails, for every n in turn."""
    disk = MemoryDisk(16 * MIB)
    scribble(disk, random.Random(7), 40)
    first = keep(store, "first", disk)
    content = bytes(disk.content)
    scribble(disk, random.Random(8), 40)
    before, left = files(store), [seed]
    settle = os.fsync

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        settle(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    try:
        keep(store, "second", disk)
    except WirtError as error:
        assert isinstance(error, Shortage)
        assert "MiB are left" in error.message
        monkeypatch.undo()
        store.discard("second")
        store.sweep(work())
        assert files(store) == before
    monkeypatch.undo()
    assert restored(store, first) == content


def test_it_stops_when_it_is_told_to(store: BackupStore) -> None:
    writer, watched = store.write("half"), work()
    watched.tell = lambda size: watched.stop.set()
    with pytest.raises(Stopped):
        writer.take("xvda", "raw", MemoryBlocks(MemoryDisk(64 * MIB)), watched)
    writer.close()


def test_a_flipped_bit_anywhere_is_found(store: BackupStore) -> None:
    disk = MemoryDisk(8 * MIB)
    disk.write(0, random.Random(1).randbytes(5 * MIB))
    made = keep(store, "first", disk)
    dice = random.Random(2)
    for path in [*objects(store), Path(store.path, "backups", "first.json")]:
        good = path.read_bytes()
        for _ in range(4):
            bad, at = bytearray(good), dice.randrange(len(good))
            bad[at] ^= 1 << dice.randrange(8)
            path.write_bytes(bad)
            with pytest.raises(WirtError) as found:
                store.verify(store.find("first"), work())
            assert isinstance(found.value, CorruptState)
        path.write_bytes(good[: len(good) // 2])
        with pytest.raises(CorruptState):
            store.verify(store.find("first"), work())
        path.write_bytes(good)
    assert store.verify(made, work()) > 0


def test_a_missing_object_is_named(store: BackupStore) -> None:
    disk = MemoryDisk(MIB)
    disk.write(0, b"content")
    made = keep(store, "first", disk)
    gone = objects(store)[0]
    gone.unlink()
    with pytest.raises(NotFound, match=gone.name):
        store.verify(made, work())


def test_an_object_that_would_unpack_to_a_flood_is_refused_before(store: BackupStore) -> None:
    disk = MemoryDisk(MIB)
    disk.write(0, b"content")
    made = keep(store, "first", disk)
    index = Path(store.path, "objects", made.disks[0].index[:2], made.disks[0].index)
    index.write_bytes(backup_files.pack(bytes(64 * MIB)))
    with pytest.raises(CorruptState):
        store.verify(made, work())


def test_a_link_in_the_place_of_an_object_is_not_followed(store: BackupStore, tmp_path: Path) -> None:
    disk = MemoryDisk(MIB)
    disk.write(0, b"content")
    made = keep(store, "first", disk)
    for path in objects(store):
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
    with pytest.raises(WirtError):
        store.verify(made, work())


def test_a_damaged_manifest_is_listed_as_a_problem_and_keeps_its_objects(store: BackupStore) -> None:
    disk = MemoryDisk(MIB)
    disk.write(0, b"content")
    keep(store, "first", disk)
    Path(store.path, "backups", "first.json").write_text("{}")
    assert len(store.all().problems) == 1
    before = files(store)
    with pytest.raises(CorruptState, match="nothing was removed"):
        store.sweep(work())
    assert files(store) == before


def test_nothing_is_swept_while_a_backup_is_being_made(store: BackupStore) -> None:
    writer = store.write("half")
    other = DirectoryStores().open(store.path)
    with pytest.raises(ResourceBusy):
        other.sweep(work())
    writer.close()
    other.sweep(work())


def test_a_directory_that_holds_other_things_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(WirtError, match="other things"):
        DirectoryStores().open(str(tmp_path), make=True)


def test_a_store_of_another_host_opens_by_its_directory_alone(store: BackupStore, tmp_path: Path) -> None:
    disk = MemoryDisk(MIB)
    disk.write(0, b"content")
    keep(store, "first", disk)
    Path(store.path).rename(tmp_path / "elsewhere")
    other = DirectoryStores().open(str(tmp_path / "elsewhere"))
    assert [each.id for each in other.all().backups] == ["first"]
    assert restored(other, other.find("first"))[:7] == b"content"
    assert backup("x").kind == "full"
