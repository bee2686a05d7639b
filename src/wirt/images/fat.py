"""FAT16 file systems, as bytes: written once, with short names only, always the same for the same content.

Source: Microsoft, "FAT: General Overview of On-Disk Format", 1.03. UEFI reads FAT12, 16 and 32 alike (UEFI
Specification 2.10, 13.3); GRUB does too. Writing it here needs neither mount, root nor a tool that stamps the
time.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

_SECTOR = 512
_SECTORS_PER_CLUSTER = 8
_CLUSTER = _SECTOR * _SECTORS_PER_CLUSTER
_ROOT_ENTRIES = 512
_ROOT_SECTORS = _ROOT_ENTRIES * 32 // _SECTOR
_END_OF_CHAIN = 0xFFFF
_DIRECTORY, _ARCHIVE = 0x10, 0x20
_DATE_1980_01_01 = 0x0021
# By the count of clusters alone a reader tells FAT16 from its sisters.
_FEWEST_CLUSTERS, _MOST_CLUSTERS = 4085, 65524
_SHORT_NAME = re.compile(r"[A-Z0-9_-]{1,8}(\.[A-Z0-9_-]{1,3})?\Z")


@dataclass(slots=True)
class _Clusters:
    """The data area as it fills: cluster 2 is its first."""

    most: int
    links: list[int] = field(default_factory=lambda: [0xFFF8, _END_OF_CHAIN])
    data: bytearray = field(default_factory=bytearray)

    def add(self, content: bytes) -> int:
        """Store `content` in neighbouring clusters and return the first one's number; 0 for nothing."""
        if not content:
            return 0
        first, count = len(self.links), -(-len(content) // _CLUSTER)
        if first - 2 + count > self.most:
            raise ValueError("the files do not fit into the file system")
        self.links += [*range(first + 1, first + count), _END_OF_CHAIN]
        self.data += content
        self.data += bytes(-len(self.data) % _CLUSTER)
        return first


def file_system(files: Mapping[str, bytes], *, sectors: int, hidden_sectors: int, volume_id: int) -> bytes:
    """A file system of `sectors` sectors with `files` (path with slashes to content).

    Paths are upper-case 8.3 names. `hidden_sectors` is where its partition starts on the disk, `volume_id`
    what tools show as its UUID. `ValueError` for a name that is not short, or when the size is wrong for
    FAT16 or too small.
    """
    fat_sectors, clusters = _layout(sectors)
    area = _Clusters(clusters)
    root = _directory(_tree(files), area, parent=None)
    if len(root) > _ROOT_ENTRIES * 32:
        raise ValueError("too many names in the root directory")
    fat = struct.pack(f"<{len(area.links)}H", *area.links).ljust(fat_sectors * _SECTOR, b"\0")
    boot = _boot_sector(sectors, fat_sectors, hidden_sectors, volume_id)
    image = boot + fat + fat + root.ljust(_ROOT_SECTORS * _SECTOR, b"\0") + area.data
    return image.ljust(sectors * _SECTOR, b"\0")


Tree = dict[str, "Tree | bytes"]


def _tree(files: Mapping[str, bytes]) -> Tree:
    tree: Tree = {}
    for path, content in sorted(files.items()):
        *parents, name = path.split("/")
        place = tree
        for parent in parents:
            below = place.setdefault(parent, {})
            if not isinstance(below, dict):
                raise ValueError(f"{path}: {parent} is a file")
            place = below
        place[name] = content
    return tree


def _layout(sectors: int) -> tuple[int, int]:
    """Sectors of one FAT, and clusters; the first depends on the second and so is grown until it is enough."""
    fat_sectors = 1
    while True:
        clusters = (sectors - 1 - 2 * fat_sectors - _ROOT_SECTORS) // _SECTORS_PER_CLUSTER
        if (clusters + 2) * 2 <= fat_sectors * _SECTOR:
            break
        fat_sectors += 1
    if not _FEWEST_CLUSTERS <= clusters <= _MOST_CLUSTERS:
        raise ValueError(f"{sectors} sectors give {clusters} clusters, which is not FAT16")
    return fat_sectors, clusters


def _directory(tree: Tree, area: _Clusters, parent: int | None) -> bytes:
    """The entries of one directory, after everything in it has been stored."""
    own = 0
    entries = bytearray()
    if parent is not None:
        # Its own number must be known to its children, so it is reserved before them: one cluster is plenty.
        own = area.add(bytes(_CLUSTER))
        entries += _entry(b".          ", _DIRECTORY, own, 0) + _entry(b"..         ", _DIRECTORY, parent, 0)
    for name, content in sorted(tree.items()):
        if isinstance(content, dict):
            below = _directory(content, area, parent=own)
            entries += _entry(_short(name), _DIRECTORY, struct.unpack_from("<H", below, 26)[0], 0)
        else:
            entries += _entry(_short(name), _ARCHIVE, area.add(content), len(content))
    if parent is not None:
        if len(entries) > _CLUSTER:
            raise ValueError("too many names in one directory")
        start = (own - 2) * _CLUSTER
        area.data[start : start + len(entries)] = entries
    return bytes(entries)


def _short(name: str) -> bytes:
    if not _SHORT_NAME.match(name):
        raise ValueError(f"not an upper-case 8.3 name: {name!r}")
    base, _, extension = name.partition(".")
    return f"{base:<8}{extension:<3}".encode()


def _entry(name: bytes, attributes: int, cluster: int, size: int) -> bytes:
    day = _DATE_1980_01_01
    return struct.pack("<11sBBBHHHHHHHI", name, attributes, 0, 0, 0, day, day, 0, 0, day, cluster, size)


def _boot_sector(sectors: int, fat_sectors: int, hidden_sectors: int, volume_id: int) -> bytes:
    small, large = (sectors, 0) if sectors < 0x10000 else (0, sectors)
    sector = struct.pack(
        "<3s8sHBHBHHBHHHIIBBBI11s8s",
        b"\xeb\x3c\x90",
        b"MSDOS5.0",
        _SECTOR,
        _SECTORS_PER_CLUSTER,
        1,  # reserved: this one
        2,  # FATs
        _ROOT_ENTRIES,
        small,
        0xF8,
        fat_sectors,
        63,
        255,
        hidden_sectors,
        large,
        0x80,
        0,
        0x29,
        volume_id,
        b"NO NAME    ",
        b"FAT16   ",
    )
    return sector.ljust(510, b"\0") + b"\x55\xaa"
