"""What a disk image stands on: the chain of its backing files, read from qcow2 headers (QEMU,
docs/interop/qcow2.txt).

A header comes from whoever made the image, and what it names is opened by the daemon. So it is read strictly, and
only when the configuration says that the image is qcow2: a raw disk's first bytes are the guest's to write.
Nothing is guessed: a backing file of unsaid format is refused.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput
from wirt.plan.jail import Layer

HEADER_BYTES = 64 * 1024
"""All that is read of an image. The first cluster holds header, extensions and name; 64 KiB is its usual size."""
MOST_LAYERS = 64
MOST_NAME_BYTES = 1023
_MAGIC = b"QFI\xfb"
_BACKING_FORMAT = 0xE2792ACA
_EXTERNAL_DATA = 1 << 2


def chain(path: str, format_: DiskFormat) -> tuple[Layer, ...]:
    """``path`` and all below it. ``BadInput`` says which image is wrong, and how; one that can't be read is left
    for the launch to tell of."""
    layers: list[Layer] = []
    here: tuple[str, DiskFormat] | None = (path, format_)
    while here is not None:
        if len(layers) == MOST_LAYERS:
            raise BadInput(f"{path} stands on more than {MOST_LAYERS} images; does one stand on itself?")
        layer, here = _read(Path(here[0]), here[1])
        layers.append(layer)
    return tuple(layers)


def _read(path: Path, format_: DiskFormat) -> tuple[Layer, tuple[str, DiskFormat] | None]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return Layer(str(path), format_), None
    try:
        device = stat.S_ISBLK(os.fstat(descriptor).st_mode)
        size = os.lseek(descriptor, 0, os.SEEK_END)
        if format_ is not DiskFormat.QCOW2:
            return Layer(str(path), format_, device, size, size), None
        header = os.pread(descriptor, HEADER_BYTES, 0)
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    virtual, backing = parse(header, str(path))
    below = (str(path.parent / backing[0]), backing[1]) if backing is not None else None
    return Layer(str(path), format_, device, virtual, size), below


def parse(header: bytes, path: str) -> tuple[int, tuple[str, DiskFormat] | None]:
    """The virtual size in bytes, and the backing file as it is named, with its format."""
    if len(header) < 72 or header[:4] != _MAGIC:
        raise BadInput(
            f"{path} is not a qcow2 image", hint="name its real format in the disk's entry, as in format=raw"
        )
    version, offset, length = struct.unpack_from(">IQI", header, 4)
    (virtual,) = struct.unpack_from(">Q", header, 24)
    if version not in (2, 3) or (version == 3 and len(header) < 104):
        raise BadInput(f"{path} is qcow2 of version {version}; wirt knows 2 and 3")
    start = 72
    if version == 3:
        (incompatible,) = struct.unpack_from(">Q", header, 72)
        (start,) = struct.unpack_from(">I", header, 100)
        if incompatible & _EXTERNAL_DATA:
            raise BadInput(
                f"{path} keeps its data in another file",
                hint="qemu-img convert -O qcow2 makes it one that does not",
            )
    if offset == 0:
        return virtual, None
    if not 0 < length <= MOST_NAME_BYTES or offset + length > len(header):
        raise BadInput(f"{path} names a backing file in a way that can't be right")
    name = header[offset : offset + length].decode(errors="surrogateescape")
    return virtual, (_local(name, path), _backing_format(header, start, name, path))


def _local(name: str, path: str) -> str:
    if "\0" in name or ":" in name.partition("/")[0]:
        raise BadInput(f"{path} stands on {name!r}, which is no file of this host")
    return name


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
        word = said.decode(errors="replace") or "nothing"
        raise BadInput(
            f"{path} says {word} of the format of {name!r}, which it stands on",
            hint=f"if that is raw: qemu-img rebase -u -F raw -b {name} {path}",
        )
    return DiskFormat(said.decode())
