"""Files of a backup store, read and written as what may lie on a full, broken or hostile server: in bounds, never
through links, and settled before anyone relies on them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import struct
from pathlib import Path

import zstandard

from wirt.model.errors import CorruptState, NotFound, Shortage, Unavailable, WirtError
from wirt.model.units import MIB
from wirt.plan.backup import BLOCK, CHUNK, blocks_of, mask_length, object_name

_MAGIC = b"WIRTOBJ1"
_HEADER = struct.Struct(">8sQI")
_STORED, _ZSTD = 0, 1
_SLACK = 64 * 1024
LEVEL = 3


def encode(mask: int, content: bytes) -> bytes:
    packed = zstandard.ZstdCompressor(level=LEVEL).compress(content)
    codec, packed = (_ZSTD, packed) if len(packed) < len(content) else (_STORED, content)
    return _HEADER.pack(_MAGIC, mask, len(content)) + bytes((codec,)) + packed


def decode(data: bytes, name: bytes, length: int) -> tuple[int, bytes]:
    """Mask and bytes of an object of a chunk of ``length`` bytes. ``CorruptState`` if it is not what its name
    says."""
    what = f"object {name.hex()}"
    if len(data) <= _HEADER.size:
        raise CorruptState(f"{what} is cut off")
    magic, mask, size = _HEADER.unpack_from(data)
    if magic != _MAGIC or mask >> blocks_of(length) or size != mask_length(mask, length):
        raise CorruptState(f"{what} is damaged")
    content = _unpack(data[_HEADER.size], data[_HEADER.size + 1 :], size, what)
    if object_name(mask, content) != name:
        raise CorruptState(f"{what} is damaged: its checksum is another")
    return mask, content


def index_name(data: bytes) -> bytes:
    return hashlib.sha256(b"wirt backup index 1\0" + data).digest()


def pack(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=LEVEL).compress(data)


def unpack(data: bytes, most: int, what: str) -> bytes:
    """``CorruptState`` if it is more than ``most`` bytes, which is found out before they are there."""
    try:
        size = zstandard.get_frame_parameters(data).content_size
    except zstandard.ZstdError:
        size = zstandard.CONTENTSIZE_UNKNOWN
    if size > most:
        raise CorruptState(f"{what} is damaged")
    return _unpack(_ZSTD, data, size, what)


def _unpack(codec: int, packed: bytes, size: int, what: str) -> bytes:
    try:
        if codec == _ZSTD:
            if size == 0 or zstandard.get_frame_parameters(packed).content_size != size:
                raise CorruptState(f"{what} is damaged: its size is another")
            window = max(CHUNK, 1 << 27)
            content = zstandard.ZstdDecompressor(max_window_size=window).decompress(packed, allow_extra_data=False)
        else:
            content = packed
    except zstandard.ZstdError as error:
        raise CorruptState(f"{what} is damaged: {error}") from error
    if codec not in (_STORED, _ZSTD) or len(content) != size:
        raise CorruptState(f"{what} is damaged: its size is another")
    return content


def most_object_bytes() -> int:
    return CHUNK + _SLACK + BLOCK


def read(path: Path, most: int, what: str) -> bytes:
    """A plain file of at most ``most`` bytes. ``NotFound``, ``CorruptState``."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise NotFound(f"{what} is missing: {path}") from error
    except OSError as error:
        raise failed(what, path, error) from error
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > most:
            raise CorruptState(f"{what} is no file that could be one: {path}")
        try:
            return file.read(most + 1)[:most]
        except OSError as error:
            raise failed(what, path, error) from error


def write(path: Path, data: bytes, what: str) -> None:
    """A new file with ``data`` that survives a loss of power. On an error none is left."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise failed(what, path, error) from error


def settle(directory: Path) -> None:
    """The names in it survive a loss of power."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def failed(what: str, path: Path, error: OSError) -> WirtError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        room = ""
        with contextlib.suppress(OSError):
            usage = shutil.disk_usage(path.parent)
            room = f" ({usage.free // MIB} MiB of {usage.total // MIB} MiB are left there)"
        return Shortage(
            f"{what}: no room for {path}: {error.strerror}{room}",
            hint="wirt backup prune makes room, or choose another place with --to",
        )
    return Unavailable(f"{what}: {path}: {error.strerror}")
