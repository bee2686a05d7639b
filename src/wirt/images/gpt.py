"""GUID partition tables, as bytes (UEFI Specification 2.10, section 5), for disks with 512-byte sectors."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

SECTOR_BYTES = 512
_ENTRIES = 128
_ENTRY_BYTES = 128
_TABLE_SECTORS = _ENTRIES * _ENTRY_BYTES // SECTOR_BYTES
FIRST_USABLE_LBA = 2 + _TABLE_SECTORS

BIOS_BOOT = UUID("21686148-6449-6e6f-744e-656564454649")
EFI_SYSTEM = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")


@dataclass(frozen=True, slots=True)
class Partition:
    """`type` says what it is for, `identity` which one it is; `name` has up to 36 characters."""

    type: UUID
    identity: UUID
    first_lba: int
    sectors: int
    name: str

    @property
    def last_lba(self) -> int:
        return self.first_lba + self.sectors - 1


@dataclass(frozen=True, slots=True)
class Table:
    """What to write at the start of the disk (protective MBR, header, entries) and at its end."""

    head: bytes
    tail: bytes


def table(disk_sectors: int, identity: UUID, partitions: Sequence[Partition]) -> Table:
    """The table of a disk. `ValueError` when partitions overlap, lie outside, or are too many."""
    _check(disk_sectors, partitions)
    entries = b"".join(_entry(p) for p in partitions).ljust(_ENTRIES * _ENTRY_BYTES, b"\0")
    last = disk_sectors - 1
    head = _header(identity, entries, here=1, other=last, entries_at=2, last_usable=last - _TABLE_SECTORS - 1)
    tail = _header(
        identity,
        entries,
        here=last,
        other=1,
        entries_at=last - _TABLE_SECTORS,
        last_usable=last - _TABLE_SECTORS - 1,
    )
    return Table(_protective_mbr(disk_sectors) + head + entries, entries + tail)


def _check(disk_sectors: int, partitions: Sequence[Partition]) -> None:
    if len(partitions) > _ENTRIES:
        raise ValueError(f"{len(partitions)} partitions; {_ENTRIES} fit")
    free_from = FIRST_USABLE_LBA
    for partition in sorted(partitions, key=lambda p: p.first_lba):
        if partition.first_lba < free_from or partition.sectors < 1:
            raise ValueError(f"{partition.name} overlaps what is before it")
        free_from = partition.last_lba + 1
    if free_from > disk_sectors - 1 - _TABLE_SECTORS:
        raise ValueError(f"the disk of {disk_sectors} sectors is too small")


def _entry(partition: Partition) -> bytes:
    name = partition.name.encode("utf-16-le")
    if len(name) > 72:
        raise ValueError(f"name too long: {partition.name}")
    fixed = struct.pack("<QQQ", partition.first_lba, partition.last_lba, 0)
    return partition.type.bytes_le + partition.identity.bytes_le + fixed + name.ljust(72, b"\0")


def _header(identity: UUID, entries: bytes, *, here: int, other: int, entries_at: int, last_usable: int) -> bytes:
    def pack(crc: int) -> bytes:
        return struct.pack(
            "<8sIIIIQQQQ16sQIII",
            b"EFI PART",
            0x00010000,
            92,
            crc,
            0,
            here,
            other,
            FIRST_USABLE_LBA,
            last_usable,
            identity.bytes_le,
            entries_at,
            _ENTRIES,
            _ENTRY_BYTES,
            zlib.crc32(entries),
        )

    return pack(zlib.crc32(pack(0))).ljust(SECTOR_BYTES, b"\0")


def _protective_mbr(disk_sectors: int) -> bytes:
    """One partition of type EE over the whole disk, so that old tools see no free space (5.2.3)."""
    size = min(disk_sectors - 1, 0xFFFFFFFF)
    record = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, size)
    return bytes(446) + record + bytes(48) + b"\x55\xaa"
