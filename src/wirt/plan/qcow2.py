"""What a qcow2 image says of itself in its first cluster (QEMU, docs/interop/qcow2.txt).

A header comes from whoever made the image, so it is read strictly, and nothing is guessed: a backing file of
unsaid format is refused.
"""

from __future__ import annotations

import shlex
import struct
from dataclasses import dataclass

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput
from wirt.model.text import plain

HEADER_BYTES = 64 * 1024
"""All that is read of an image. The first cluster holds header, extensions and name; 64 KiB is its usual size."""
MOST_NAME_BYTES = 1023
MOST_VIRTUAL_BYTES = 1 << 60
"""More than any file system holds in a file, and little enough for whoever reckons with it."""
_MAGIC = b"QFI\xfb"
_BACKING_FORMAT = 0xE2792ACA
_DIRTY, _CORRUPT, _EXTERNAL_DATA = 1 << 0, 1 << 1, 1 << 2


@dataclass(frozen=True, slots=True)
class Header:
    """``size`` is what the guest sees, in bytes; ``backing`` the file that it stands on, as it is named there,
    with its format."""

    size: int
    backing: tuple[str, DiskFormat] | None = None
    dirty: bool = False
    corrupt: bool = False


def parse(header: bytes, path: str) -> Header:
    """``BadInput`` says what is wrong with ``path``."""
    if len(header) < 72 or header[:4] != _MAGIC:
        raise BadInput(
            f"{path} is not a qcow2 image", hint="name its real format in the disk's entry, as in format=raw"
        )
    version, offset, length = struct.unpack_from(">IQI", header, 4)
    (size,) = struct.unpack_from(">Q", header, 24)
    if version not in (2, 3) or (version == 3 and len(header) < 104):
        raise BadInput(f"{path} is qcow2 of version {version}; wirt knows 2 and 3")
    if size > MOST_VIRTUAL_BYTES:
        raise BadInput(f"{path} claims to hold {size} bytes, which is more than any disk does")
    start, features = 72, 0
    if version == 3:
        (features,) = struct.unpack_from(">Q", header, 72)
        (start,) = struct.unpack_from(">I", header, 100)
        if features & _EXTERNAL_DATA:
            raise BadInput(
                f"{path} keeps its data in another file",
                hint="qemu-img convert -O qcow2 makes it one that does not",
            )
    backing = _backing(header, start, offset, length, path) if offset else None
    return Header(size, backing, bool(features & _DIRTY), bool(features & _CORRUPT))


def _backing(header: bytes, start: int, offset: int, length: int, path: str) -> tuple[str, DiskFormat]:
    if not 0 < length <= MOST_NAME_BYTES or offset + length > len(header):
        raise BadInput(f"{path} names a backing file in a way that can't be right")
    name = header[offset : offset + length].decode(errors="surrogateescape")
    if "\0" in name or ":" in name.partition("/")[0]:
        raise BadInput(f"{path} stands on {name!r}, which is no file of this host")
    return name, _backing_format(header, start, name, path)


def _backing_format(header: bytes, start: int, name: str, path: str) -> DiskFormat:
    said = b""
    while start + 8 <= len(header):
        kind, length = struct.unpack_from(">II", header, start)
        if kind == 0:
            break
        if kind == _BACKING_FORMAT:
            said = header[start + 8 : start + 8 + min(length, 16)]
        start += 8 + (length + 7) // 8 * 8
    if said not in (b"raw", b"qcow2"):
        word = plain(said.decode(errors="replace")) or "nothing"
        raise BadInput(
            f"{path} says {word} of the format of {name!r}, which it stands on",
            hint=plain(f"if that is raw: qemu-img rebase -u -F raw -b {shlex.quote(name)} {shlex.quote(path)}"),
        )
    return DiskFormat(said.decode())
