"""Disks into a backup store: read in order by one thread, compressed and written by a few."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from wirt.model.errors import BadInput, ResourceBusy, Unavailable
from wirt.plan import backup_manifest
from wirt.plan.backup import (
    CHUNK,
    MOST_LAYERS,
    Backup,
    DiskBackup,
    Kind,
    Layers,
    blocks_of,
    chunk_length,
    chunks_of,
    masks,
    object_name,
    places,
    runs,
    without_zeroes,
    write_index,
)
from wirt.ports.backup_store import Stopped, Work
from wirt.ports.blocks import Blocks
from wirt.storage import backup_files as files

if TYPE_CHECKING:
    from wirt.storage.backup_store import DirectoryStore

WRITERS = 2
AHEAD = 6
"""Chunks that were read and are not yet written: what a slow store costs in memory."""


class Pace:
    """Holds whoever reads to ``bytes_per_s``, and stops him in time."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._begun = time.monotonic()
        self._bytes = 0

    def took(self, size: int) -> None:
        """``Stopped`` when it is to end."""
        self._bytes += size
        rate, wait_s = self._work.bytes_per_s, 0.0
        if rate:
            wait_s = max(0.0, self._bytes / rate - (time.monotonic() - self._begun))
        if self._work.stop.wait(wait_s) if wait_s else self._work.stop.is_set():
            raise Stopped


class DirectoryWriter:
    """``held`` is the store's lock, which is this writer's to close."""

    def __init__(self, store: DirectoryStore, directory: Path, backup: str, held: int) -> None:
        self._store = store
        self._directory = directory
        self._backup = backup
        self._held = held
        self._partial = directory / "partial" / backup
        self._new: dict[bytes, int] = {}
        self._used: set[bytes] = set()
        self._lock = Lock()
        try:
            self._partial.mkdir(mode=0o700)
        except OSError as error:
            raise files.failed("nothing can be stored", self._partial, error) from error

    def take(
        self, vdev: str, format_: str, blocks: Blocks, work: Work, *, since: Backup | None = None
    ) -> DiskBackup:
        before = None if since is None else since.disk(vdev)
        if since is not None and (before is None or before.size != blocks.size):
            raise BadInput(f"{vdev} of {since.id} is another disk")
        old: tuple[Layers, ...] = ((),) * chunks_of(blocks.size) if before is None else self._store.index(before)
        stored = sum(self._new.values())
        index, moved, changed = self._copy(blocks, list(old), work, whole=before is None)
        for layers in index:
            self._used.update(layers)
        data = write_index(index)
        name = files.index_name(data)
        self._put(name, files.pack(data))
        return DiskBackup(
            vdev=vdev,
            size=blocks.size,
            format=format_,
            kind=Kind.FULL if before is None else Kind.INCREMENTAL,
            index=name.hex(),
            moved=moved,
            changed=changed,
            stored=sum(self._new.values()) - stored,
        )

    def publish(self, backup: Backup) -> None:
        """``ResourceBusy`` if something that it stands on was removed by force meanwhile."""
        what = f"backup {self._backup} can't be published"
        for name in self._used:
            if name not in self._new and not self._store.place(name).is_file():
                raise ResourceBusy(f"{what}: object {name.hex()} has been removed", hint="make the backup again")
        try:
            for name in self._new:
                (self._partial / name.hex()).rename(self._store.place(name))
            for directory in {self._store.place(name).parent for name in self._new}:
                files.settle(directory)
            place = self._directory / "backups" / f"{self._backup}.json"
            files.write(part := place.with_name(f".{place.name}"), backup_manifest.write(backup), what)
            part.rename(place)
            files.settle(place.parent)
            self._partial.rmdir()
        except OSError as error:
            raise files.failed(what, self._partial, error) from error

    def close(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def _copy(
        self, blocks: Blocks, index: list[Layers], work: Work, *, whole: bool
    ) -> tuple[list[Layers], int, int]:
        pace, moved, changed = Pace(work), 0, 0
        waiting: deque[tuple[int, Future[Layers]]] = deque()

        def settle() -> None:
            number, result = waiting.popleft()
            index[number] = result.result()

        with ThreadPoolExecutor(WRITERS, "wirt-backup") as pool:
            try:
                for number, blocks_read, data in _read(blocks):
                    pace.took(len(data))
                    moved += len(data)
                    length = chunk_length(blocks.size, number)
                    mask, content = without_zeroes(blocks_read, data, length) if whole else (blocks_read, data)
                    changed += len(content)
                    before = () if whole else index[number]
                    waiting.append((number, pool.submit(self._store_chunk, before, mask, content, length)))
                    work.tell(CHUNK)
                    if len(waiting) > AHEAD:
                        settle()
                while waiting:
                    settle()
            except BaseException:
                for _, future in waiting:
                    future.cancel()
                raise
        return index, moved, changed

    def _store_chunk(self, before: Layers, mask: int, content: bytes, length: int) -> Layers:
        """``content`` laid over ``before``."""
        everything = (1 << blocks_of(length)) - 1
        if mask != everything and len(before) >= MOST_LAYERS:
            old, at = self._store.chunk(before, length), 0
            for offset, part in places(mask, length):
                old[offset : offset + part] = content[at : at + part]
                at += part
            mask, content = everything, bytes(old)
        if mask == everything:
            before = ()
        if not before:
            mask, content = without_zeroes(mask, content, length)
        if not mask:
            return before
        name = object_name(mask, content)
        if name not in self._new and not self._store.place(name).is_file():
            self._put(name, files.encode(mask, content))
        return (*before, name)

    def _put(self, name: bytes, data: bytes) -> None:
        with self._lock:
            if name in self._new:
                return
            self._new[name] = len(data)
        if self._store.place(name).is_file():
            with self._lock:
                del self._new[name]
            return
        files.write(self._partial / name.hex(), data, f"backup {self._backup}")


def _read(blocks: Blocks) -> Iterator[tuple[int, int, bytes]]:
    """Each chunk that has something, as its number, a mask, and the bytes of the blocks in it."""
    extents = ((extent.offset, extent.length) for extent in blocks.extents())
    for number, mask in masks(extents, blocks.size):
        length = chunk_length(blocks.size, number)
        parts = [blocks.read(number * CHUNK + offset, part) for offset, part in runs(mask, length)]
        content = b"".join(parts)
        if not content:
            raise Unavailable("a disk gave nothing where something was said to be")
        yield number, mask, content
