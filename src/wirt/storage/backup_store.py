"""A directory that keeps backups, on any file system.

::

    wirt-backups.json        what this is, and its tag
    lock                     held shared by who reads or writes a backup, alone by who sweeps (flock(2))
    backups/ID.json          a manifest: a backup is there when this is
    objects/AB/ABCD...       content, called by its hash; indexes too
    partial/ID/              what a backup that is being made has stored until now

A backup's objects move from ``partial`` to ``objects`` when it is whole, and its manifest follows as the last;
before that there is nothing to be seen of it, and after it all is on the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from wirt.model.errors import BadInput, CorruptState, NotFound, ResourceBusy, Unavailable, WirtError
from wirt.plan import backup_manifest
from wirt.plan.backup import (
    CHUNK,
    Backup,
    DiskBackup,
    Layers,
    blocks_of,
    check_id,
    chunk_length,
    most_index_bytes,
    places,
    read_index,
    runs,
    without_zeroes,
)
from wirt.ports.backup_store import Listing, Stopped, Swept, Work
from wirt.ports.blocks import Blocks
from wirt.storage import backup_files as files
from wirt.storage.backup_writer import DirectoryWriter

MARK = "wirt-backups.json"
FORMAT, VERSION = "wirt-backup-store", 1
MOST_BACKUPS = 100_000
_TAG = re.compile(r"[0-9a-f]{8}")
_OBJECT = re.compile(r"[0-9a-f]{64}")


class DirectoryStores:
    """Opens directories of this host."""

    def open(self, path: str, *, make: bool = False) -> DirectoryStore:
        directory = Path(path)
        mark = directory / MARK
        if not mark.exists():
            if not make:
                raise NotFound(
                    f"there are no backups in {path}", hint="wirt backup create --to makes such a place"
                )
            _make(directory)
        return DirectoryStore(directory, _tag(mark))


class DirectoryStore:
    def __init__(self, directory: Path, tag: str) -> None:
        self._directory = directory
        self.tag = tag

    @property
    def path(self) -> str:
        return str(self._directory)

    def all(self) -> Listing:
        found, problems = [], []
        for name in self._names():
            try:
                found.append(self.find(name))
            except WirtError as error:
                problems.append(error.message)
        found.sort(key=lambda backup: (backup.created_at, backup.id))
        return Listing(tuple(found), tuple(problems))

    def find(self, backup: str) -> Backup:
        check_id(backup)
        what = f"backup {backup}"
        path = self._manifest(backup)
        if not path.is_file():
            raise NotFound(f"there is no {what} in {self.path}", hint=f"wirt backup list --from {self.path}")
        found = backup_manifest.read(files.read(path, backup_manifest.MOST_BYTES, what), what)
        if found.id != backup:
            raise CorruptState(f"{path} is the manifest of {found.id}")
        return found

    def write(self, backup: str) -> DirectoryWriter:
        check_id(backup)
        held = self._hold(alone=False)
        try:
            if self._manifest(backup).exists():
                raise BadInput(f"there is a backup {backup} already")
            return DirectoryWriter(self, self._directory, backup, held)
        except BaseException:
            os.close(held)
            raise

    def discard(self, backup: str) -> None:
        """Its objects, if it was published, stay until the next sweep."""
        check_id(backup)
        with contextlib.suppress(FileNotFoundError):
            self._manifest(backup).unlink()
            files.settle(self._directory / "backups")
        _remove_tree(self._directory / "partial" / backup)

    def restore(self, backup: Backup, vdev: str, target: Blocks, work: Work) -> None:
        disk = _disk(backup, vdev)
        if target.size < disk.size:
            raise BadInput(f"{vdev} of {backup.id} has {disk.size} bytes, which is more than {target.size}")
        with self._held():
            for number, layers in enumerate(self.index(disk)):
                _go_on(work)
                length = chunk_length(disk.size, number)
                self._lay(layers, number, length, target)
                work.tell(length)
            target.flush()

    def verify(self, backup: Backup, work: Work) -> int:
        seen: set[bytes] = set()
        size = 0
        with self._held():
            for disk in backup.disks:
                for number, layers in enumerate(self.index(disk)):
                    _go_on(work)
                    length = chunk_length(disk.size, number)
                    for name in layers:
                        if name not in seen:
                            seen.add(name)
                            size += len(self.load(name, length)[1])
                    work.tell(length)
        return size

    def forget(self, backups: Collection[str]) -> None:
        for backup in backups:
            check_id(backup)
            with contextlib.suppress(FileNotFoundError):
                self._manifest(backup).unlink()
        files.settle(self._directory / "backups")

    def sweep(self, work: Work) -> Swept:
        with self._held(alone=True):
            listing = self.all()
            if listing.problems:
                raise CorruptState(
                    f"nothing was removed: {listing.problems[0]}",
                    hint="what a damaged backup needs is not known; wirt backup destroy removes the backup",
                )
            needed = self._needed(listing.backups, work)
            for left in (self._directory / "partial").iterdir():
                _remove_tree(left)
            return self._remove_others(needed, work)

    def index(self, disk: DiskBackup) -> tuple[Layers, ...]:
        """``CorruptState`` if it is damaged."""
        most = most_index_bytes(disk.size)
        what = f"the index of {disk.vdev}"
        name = bytes.fromhex(disk.index)
        data = files.unpack(files.read(self.place(name), most + most // 64 + 4096, what), most, what)
        if files.index_name(data) != name:
            raise CorruptState(f"{what} is damaged: its checksum is another")
        return read_index(data, disk.size)

    def load(self, name: bytes, length: int) -> tuple[int, bytes]:
        """Mask and content of an object of a chunk of ``length`` bytes."""
        what = f"object {name.hex()}"
        return files.decode(files.read(self.place(name), files.most_object_bytes(), what), name, length)

    def chunk(self, layers: Layers, length: int) -> bytearray:
        content = bytearray(length)
        for name in layers:
            mask, data = self.load(name, length)
            at = 0
            for offset, part in places(mask, length):
                content[offset : offset + part] = data[at : at + part]
                at += part
        return content

    def place(self, name: bytes) -> Path:
        text = name.hex()
        return self._directory / "objects" / text[:2] / text

    def _lay(self, layers: Layers, number: int, length: int, target: Blocks) -> None:
        if not layers:
            return
        content = self.chunk(layers, length)
        mask, _ = without_zeroes((1 << blocks_of(length)) - 1, bytes(content), length)
        for offset, part in runs(mask, length):
            target.write(number * CHUNK + offset, bytes(content[offset : offset + part]))

    def _needed(self, backups: Collection[Backup], work: Work) -> set[str]:
        needed = set()
        for backup in backups:
            for disk in backup.disks:
                _go_on(work)
                needed.add(disk.index)
                needed.update(name.hex() for layers in self.index(disk) for name in layers)
        return needed

    def _remove_others(self, needed: set[str], work: Work) -> Swept:
        count, size = 0, 0
        for directory in (self._directory / "objects").iterdir():
            _go_on(work)
            for entry in os.scandir(directory):
                if _OBJECT.fullmatch(entry.name) and entry.name not in needed:
                    size += entry.stat(follow_symlinks=False).st_size
                    count += 1
                    os.unlink(entry.path)  # noqa: PTH108 (a scan of many)
        return Swept(count, size)

    def _names(self) -> list[str]:
        try:
            names = os.listdir(self._directory / "backups")  # noqa: PTH208 (a server's words: bounded below)
        except OSError as error:
            raise Unavailable(f"{self.path} can't be read: {error.strerror}") from error
        found = [name.removesuffix(".json") for name in names if name.endswith(".json") and name[0] != "."]
        return sorted(found)[:MOST_BACKUPS]

    def _manifest(self, backup: str) -> Path:
        return self._directory / "backups" / f"{backup}.json"

    def _hold(self, *, alone: bool) -> int:
        try:
            descriptor = os.open(
                self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except OSError as error:
            raise Unavailable(f"{self.path} can't be used: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            who = "a backup is being made or read there" if alone else "it is being pruned"
            raise ResourceBusy(f"{self.path} is in use: {who}", hint="try again when that has ended") from error
        return descriptor

    @contextmanager
    def _held(self, *, alone: bool = False) -> Iterator[None]:
        descriptor = self._hold(alone=alone)
        try:
            yield
        finally:
            os.close(descriptor)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise BadInput(
                f"{directory} holds other things than backups", hint="name an empty directory, or one below it"
            )
        for name in ("backups", "objects", "partial"):
            (directory / name).mkdir(mode=0o700)
        for number in range(256):
            (directory / "objects" / f"{number:02x}").mkdir(mode=0o700)
    except OSError as error:
        raise files.failed("no place for backups can be made", directory, error) from error
    said = {"format": FORMAT, "version": VERSION, "tag": secrets.token_hex(4)}
    part = directory / f".{MARK}"
    files.write(part, json.dumps(said).encode() + b"\n", "no place for backups can be made")
    part.rename(directory / MARK)
    files.settle(directory)


def _tag(mark: Path) -> str:
    try:
        said = json.loads(files.read(mark, 4096, "the mark of a place for backups"))
        if said["format"] != FORMAT or not _TAG.fullmatch(said["tag"]):
            raise ValueError
        version = said["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptState(f"{mark} says nothing that could be understood") from error
    if version != VERSION:
        raise CorruptState(f"{mark.parent} is of version {version}; this wirt knows {VERSION}")
    return str(said["tag"])


def _disk(backup: Backup, vdev: str) -> DiskBackup:
    disk = backup.disk(vdev)
    if disk is None:
        has = ", ".join(each.vdev for each in backup.disks)
        raise NotFound(f"backup {backup.id} has no disk {vdev}", hint=f"it has {has}")
    return disk


def _go_on(work: Work) -> None:
    if work.stop.is_set():
        raise Stopped


def _remove_tree(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Unavailable(f"{path} can't be removed: {error.strerror}") from error
