"""What a backup is made of, and which backups stay. Pure.

A disk is cut into chunks of 4 MiB, and each into 64 blocks of 64 KiB. An *object* holds blocks of one chunk: a
mask that says which, and their bytes. A backup's *index* names for each chunk the objects to lay one over the
other, the oldest first; what none holds is zero. An object is called by the hash of what is in it, so that what
was stored once is not stored again, whoever's disk it is of.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from wirt.model.errors import BadInput, CorruptState

BLOCK = 64 * 1024
BLOCKS = 64
CHUNK = BLOCK * BLOCKS
HASH_BYTES = 32
MOST_LAYERS = 16
"""Objects of one chunk. One more, and the chunk is stored whole."""
MOST_DISK_BYTES = 1 << 50
_ID = re.compile(r"[A-Za-z0-9+_.-]{1,160}")
_ZEROES = memoryview(bytes(BLOCK))
_DOMAIN = b"wirt backup object 1\0"

Layers = tuple[bytes, ...]
"""The hashes of a chunk's objects, the oldest first."""


class Kind(StrEnum):
    """Stored words. Of ``incremental`` only what had changed was read from the guest."""

    FULL = "full"
    INCREMENTAL = "incremental"


class Consistency(StrEnum):
    """What a backup's disks are like: as their guest had written them out, as after a power failure, or as a
    domain left them that was off."""

    FILESYSTEM = "filesystem"
    CRASH = "crash"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class DiskBackup:
    """Sizes are in bytes. ``index`` is the hash of the disk's index. ``moved`` was read from the guest,
    ``changed`` of it had changed (of a full one: was not zero), ``stored`` is what was new to the store, as it
    takes room."""

    vdev: str
    size: int
    format: str
    kind: Kind
    index: str
    moved: int
    changed: int
    stored: int


@dataclass(frozen=True, slots=True)
class Backup:
    """``parent`` is the backup whose changes it began from, ``reason`` why it is full. ``state`` is what the
    domain's was. ``config`` is the text of its xl.cfg. ``consistency``: what its disks are like, if known."""

    id: str
    domain: str
    uuid: str
    host: str
    created_at: float
    hypervisor: str
    state: str
    config: str
    parent: str | None = None
    reason: str = ""
    disks: tuple[DiskBackup, ...] = field(default=())
    consistency: Consistency | None = None

    @property
    def kind(self) -> Kind:
        """Incremental as soon as one disk is."""
        return Kind.INCREMENTAL if any(disk.kind is Kind.INCREMENTAL for disk in self.disks) else Kind.FULL

    def disk(self, vdev: str) -> DiskBackup | None:
        return next((disk for disk in self.disks if disk.vdev == vdev), None)


@dataclass(frozen=True, slots=True)
class Keep:
    """How many are kept of each domain: the last ones, and the last one of each of so many days, weeks and months
    that have one (in UTC; weeks begin on Monday). Nothing said: all."""

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    def __bool__(self) -> bool:
        return any((self.last, self.daily, self.weekly, self.monthly))


def superfluous(backups: Iterable[Backup], keep: Keep) -> tuple[Backup, ...]:
    """Those that ``keep`` does not keep, the oldest first. The newest one of each domain always stays: the next
    incremental one begins from it."""
    if not keep:
        return ()
    ordered = sorted(backups, key=lambda backup: (backup.created_at, backup.id), reverse=True)
    kept: set[str] = set()
    for uuid in {backup.uuid for backup in ordered}:
        mine = [backup for backup in ordered if backup.uuid == uuid]
        kept.update(backup.id for backup in mine[: max(1, keep.last)])
        for count, form in ((keep.daily, "%Y-%m-%d"), (keep.weekly, "%G-%V"), (keep.monthly, "%Y-%m")):
            kept.update(_newest_of_each(mine, form, count))
    return tuple(backup for backup in reversed(ordered) if backup.id not in kept)


def _newest_of_each(backups: Sequence[Backup], form: str, count: int) -> Iterator[str]:
    periods: set[str] = set()
    for backup in backups:
        period = datetime.fromtimestamp(backup.created_at, UTC).strftime(form)
        if period not in periods and len(periods) < count:
            periods.add(period)
            yield backup.id


def check_id(backup: str) -> None:
    if not _ID.fullmatch(backup) or backup.startswith("."):
        raise BadInput(f"{backup!r} is no backup", hint="wirt backup list shows them")


def chunks_of(size: int) -> int:
    return -(-size // CHUNK)


def chunk_length(size: int, number: int) -> int:
    """The last chunk of a disk may be short."""
    return min(CHUNK, size - number * CHUNK)


def blocks_of(length: int) -> int:
    return -(-length // BLOCK)


def masks(extents: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """The chunks that ``extents`` (offset and length, in order) touch, each with the mask of the blocks."""
    number, mask = 0, 0
    for offset, length in extents:
        end = min(offset + length, size)
        for block in range(offset // BLOCK, -(-end // BLOCK)):
            chunk, place = divmod(block, BLOCKS)
            if chunk != number:
                if mask:
                    yield number, mask
                number, mask = chunk, 0
            mask |= 1 << place
    if mask:
        yield number, mask


def runs(mask: int, length: int) -> Iterator[tuple[int, int]]:
    """Offset and length in the chunk of each row of neighbouring blocks in ``mask``."""
    begun, end = 0, 0
    for offset, part in places(mask, length):
        if offset != end:
            if end > begun:
                yield begun, end - begun
            begun = offset
        end = offset + part
    if end > begun:
        yield begun, end - begun


def without_zeroes(mask: int, content: bytes | memoryview, length: int) -> tuple[int, bytes]:
    """The same without the blocks that are zero."""
    view, kept, at, parts = memoryview(content), 0, 0, []
    for offset, part in places(mask, length):
        block = view[at : at + part]
        if block != _ZEROES[:part]:
            kept |= 1 << offset // BLOCK
            parts.append(block)
        at += part
    return kept, b"".join(parts)


def mask_length(mask: int, length: int) -> int:
    """The bytes of the blocks in ``mask``, of a chunk of ``length`` bytes."""
    full = mask.bit_count() * BLOCK
    last = blocks_of(length) - 1
    return full - (BLOCK * (last + 1) - length if mask >> last & 1 else 0)


def places(mask: int, length: int) -> Iterator[tuple[int, int]]:
    """Offset and length in the chunk of each block in ``mask``."""
    for number in range(blocks_of(length)):
        if mask >> number & 1:
            yield number * BLOCK, min(BLOCK, length - number * BLOCK)


def object_name(mask: int, content: bytes | memoryview) -> bytes:
    name = hashlib.sha256(_DOMAIN + struct.pack(">QI", mask, len(content)))
    name.update(content)
    return name.digest()


def write_index(index: Sequence[Layers]) -> bytes:
    return b"".join(bytes((len(layers),)) + b"".join(layers) for layers in index)


def read_index(data: bytes, size: int) -> tuple[Layers, ...]:
    """``CorruptState`` if it is no index of a disk of ``size`` bytes."""
    index, at = [], 0
    for _ in range(chunks_of(size)):
        count = data[at] if at < len(data) else MOST_LAYERS + 1
        end = at + 1 + count * HASH_BYTES
        if count > MOST_LAYERS or end > len(data):
            raise CorruptState("the index of a disk can't be understood")
        index.append(tuple(data[begin : begin + HASH_BYTES] for begin in range(at + 1, end, HASH_BYTES)))
        at = end
    if at != len(data):
        raise CorruptState("the index of a disk is longer than the disk")
    return tuple(index)


def most_index_bytes(size: int) -> int:
    return chunks_of(size) * (1 + MOST_LAYERS * HASH_BYTES)
