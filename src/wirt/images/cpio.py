"""Archives in the "newc" form of cpio, which is what the kernel unpacks as its initramfs.

Source: Linux `Documentation/driver-api/early-userspace/buffer-format.rst`. Made in memory, so that device
nodes and files of root need no root.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

_TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Entry:
    """One member; `mode` has the file type in it, `device` is (major, minor) of a device node."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(name: str, permissions: int = 0o755) -> Entry:
    return Entry(name, stat.S_IFDIR | permissions)


def regular(name: str, data: bytes, permissions: int = 0o644) -> Entry:
    return Entry(name, stat.S_IFREG | permissions, data)


def symlink(name: str, target: str) -> Entry:
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def character_device(name: str, major: int, minor: int, permissions: int = 0o600) -> Entry:
    return Entry(name, stat.S_IFCHR | permissions, device=(major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """The archive of `entries`: sorted by name (so that parents come before their children), owned by root, of
    time 0. Equal entries in any order give equal bytes. A name twice is a `ValueError`.
    """
    ordered = sorted(entries, key=lambda entry: entry.name)
    names = [entry.name for entry in ordered]
    if len(set(names)) != len(names):
        raise ValueError(f"a name is there twice: {sorted(n for n in set(names) if names.count(n) > 1)}")
    out = bytearray()
    for number, entry in enumerate(ordered, start=1):
        _append(out, number, entry)
    _append(out, 0, Entry(_TRAILER, 0))
    out += bytes(-len(out) % 512)
    return bytes(out)


def _append(out: bytearray, number: int, entry: Entry) -> None:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        number,
        entry.mode,
        0,  # uid
        0,  # gid
        links,
        0,  # mtime
        len(entry.data),
        0,  # major and minor of the device that holds the file
        0,
        *entry.device,
        len(name),
        0,  # checksum: not in this form
    )
    out += b"070701" + "".join(f"{field:08X}" for field in fields).encode() + name
    out += bytes(-len(out) % 4)
    out += entry.data
    out += bytes(-len(out) % 4)
