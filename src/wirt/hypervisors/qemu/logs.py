"""Files that QEMU appends to for as long as a run lasts, kept small from outside.

QEMU never closes such a file, so it can't be rotated. Its oldest part is given back to the file system as a
hole (fallocate(2)), which leaves its length; and before the length meets the limit of the process (RLIMIT_FSIZE,
where a write fails and QEMU goes on without a word) the file is cut to nothing. QEMU appends (O_APPEND), so it
goes on at the new end. The newest part is kept beside it, in FILE.old, with the offset that the file begins at
from then on: offsets count from the first byte for ever, for a new daemon too. What is written in the microsecond
between the last look and the cut is lost, once in ``restart_bytes``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

RESTART_BYTES = 256 * 1024 * 1024
"""Well below what the jail allows any file (LEAST_FILE_BYTES): between two looks a lot can come."""
TRIM_S = 2.0
TRIM_SOON_S = 0.25
"""A guest under software emulation prints 0.5 MB/s on a serial port, 4.5 MB/s through virtio (measured): between
two looks not more than there is room for in the 16 MiB that a jailed run has for its logs."""
STEP_BYTES = 256 * 1024

_HEADER = struct.Struct(">8sQ")
_MAGIC = b"wirtlog1"
_BLOCK_BYTES = 4096
_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class GrowingLog:
    """``keep_bytes`` of the newest are always there. ``room_bytes``: kept free for the file on its file system
    after a cut, as the sandbox does before its first byte. Errors are ``OSError``."""

    def __init__(
        self, path: Path, keep_bytes: int, *, restart_bytes: int | None = None, room_bytes: int = 0
    ) -> None:
        self._path = path
        self._keep_bytes = keep_bytes
        self._restart_bytes = max(RESTART_BYTES if restart_bytes is None else restart_bytes, keep_bytes)
        self._room_bytes = room_bytes
        self._step_bytes = min(STEP_BYTES, max(_BLOCK_BYTES, keep_bytes // 4))
        self._file: FileIO | None = None
        self._base = 0
        self._before = b""
        self._punched = 0

    @property
    def end(self) -> int:
        """The offset that the next byte will have."""
        size = os.fstat(self.open()).st_size
        return self._base + size

    def open(self) -> int:
        """Opened once and kept, so that the newest can be read when the directory is gone."""
        if self._file is None:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            self._file = FileIO(descriptor, "rb")
            self._base, self._before = _recovered(self._path, descriptor)
        return self._file.fileno()

    def read(self, offset: int, most_bytes: int) -> tuple[int, bytes]:
        """What is kept from ``offset`` on, and where that begins. A file that someone else cut short has nothing
        to tell until it is as long again."""
        descriptor, end = self.open(), self.end
        start = min(max(offset, end - self._keep_bytes, self._base - len(self._before)), end)
        if start < self._base:
            place = len(self._before) - (self._base - start)
            return start, self._before[place : place + most_bytes]
        return start, os.pread(descriptor, min(most_bytes, end - start), start - self._base)

    def go_on_from(self, before: GrowingLog) -> None:
        """Count on where ``before`` ends, which is not written any more, and keep what it has. For a log that is
        empty still; another daemon finds it so."""
        start, newest = before.read(before.end - self._keep_bytes, self._keep_bytes)
        while more := before.read(start + len(newest), self._keep_bytes)[1]:
            newest += more
        self.begin_from(start, newest)

    def begin_from(self, start: int, before: bytes) -> None:
        """Count on behind ``before``, which stood at ``start`` somewhere else, and keep the newest of it. For a
        log that is empty still; another daemon finds it so."""
        newest = before[-self._keep_bytes :]
        start += len(before) - len(newest)
        self.open()
        kept = _old(self._path)
        with kept.open("wb", buffering=0) as copy:
            kept.chmod(0o600)
            copy.write(_HEADER.pack(_MAGIC, start + len(newest)) + newest)
        self._base, self._before = start + len(newest), newest

    def trim(self) -> bool:
        """Give back what is too old. Whether there was something: then it grows fast."""
        size = os.fstat(self.open()).st_size
        if self._before and size >= self._keep_bytes:
            self._before = b""
        if size >= self._restart_bytes:
            self._restart(size)
            return True
        old = size - self._keep_bytes
        if old - self._punched < self._step_bytes:
            # It may have become shorter by another's doing, and is to be trimmed all the same.
            self._punched = min(self._punched, max(0, old))
            return False
        self._punched = old - old % _BLOCK_BYTES
        _fallocate(self.open(), _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, self._punched)
        return True

    def _restart(self, size: int) -> None:
        """In an order that a daemon which dies in between leaves no doubt: see :func:`_recovered`."""
        descriptor = self.open()
        _fallocate(descriptor, _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, max(0, size - self._keep_bytes))
        start = max(0, size - self._keep_bytes)
        newest = os.pread(descriptor, size - start, start)
        pending = _pending(self._path)
        with pending.open("wb", buffering=0) as copy:
            pending.chmod(0o600)
            copy.write(_HEADER.pack(_MAGIC, self._base + size) + newest)
            newest += os.pread(descriptor, self._keep_bytes, size)
            last = os.fstat(descriptor).st_size
            os.ftruncate(descriptor, 0)
            self._base, self._before, self._punched = self._base + last, newest[-self._keep_bytes :], 0
            copy.seek(0)
            copy.write(_HEADER.pack(_MAGIC, self._base) + newest)
        pending.replace(_old(self._path))
        if self._room_bytes:
            _fallocate(descriptor, _FALLOC_FL_KEEP_SIZE, self._room_bytes)


def newest(path: Path, most_bytes: int) -> bytes:
    """The end of a log, whether anyone has it open or not; nothing if it can't be read."""
    text = b""
    with contextlib.suppress(OSError):
        text = _tail(path, most_bytes)
    if len(text) < most_bytes:
        for kept in (_pending(path), _old(path)):
            with contextlib.suppress(OSError):
                if (header := _header(kept)) is not None:
                    return _tail(kept, most_bytes - len(text), header[1]) + text
    return text


class Keeper:
    """Trims the logs of one run from time to time, and more often while they grow fast."""

    def __init__(self, logs: Sequence[GrowingLog], every_s: float | None = None) -> None:
        self._logs = logs
        self._every_s = TRIM_S if every_s is None else every_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self.stop()
        self._look()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        grows = False
        for log in self._logs:
            # One that can't be trimmed now (no room for the copy, most often) is tried again.
            with contextlib.suppress(OSError):
                grows = log.trim() or grows
        delay_s = min(TRIM_SOON_S, self._every_s) if grows else self._every_s
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._look)


def _recovered(path: Path, descriptor: int) -> tuple[int, bytes]:
    """Where the file begins, and what was before that. A copy that is still pending is either of a file that was
    not cut (it begins with a hole) or of one that was."""
    pending, old = _pending(path), _old(path)
    if _header(pending) is not None:
        if _begins_with_a_hole(descriptor):
            pending.unlink(missing_ok=True)
        else:
            pending.replace(old)
    header = _header(old)
    if header is None:
        return 0, b""
    base, length = header
    return base, _tail(old, min(base, length), length)


def _begins_with_a_hole(descriptor: int) -> bool:
    try:
        return os.lseek(descriptor, 0, os.SEEK_DATA) > 0
    except OSError:
        return False  # ENXIO: no data at all


def _header(path: Path) -> tuple[int, int] | None:
    """The offset that follows the copy, and how long the copy is."""
    try:
        with path.open("rb") as file:
            magic, base = _HEADER.unpack(file.read(_HEADER.size))
            length = os.fstat(file.fileno()).st_size - _HEADER.size
    except (OSError, struct.error):
        return None
    return (base, length) if magic == _MAGIC and base < 1 << 62 else None


def _tail(path: Path, most_bytes: int, length: int | None = None) -> bytes:
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        first = 0 if length is None else size - length
        start = max(first, size - most_bytes)
        return os.pread(file.fileno(), min(most_bytes, size - start), start)


def _pending(path: Path) -> Path:
    return path.with_name(f"{path.name}.restart")


def _old(path: Path) -> Path:
    return path.with_name(f"{path.name}.old")


def _fallocate(descriptor: int, mode: int, length: int) -> bool:
    """Of the first ``length`` bytes. False where the file system can't: then the file just stays larger."""
    return length > 0 and _libc.fallocate(descriptor, mode, 0, length) == 0
