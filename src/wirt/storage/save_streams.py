"""One saved guest's file, written and read by a thread: chunk by chunk, nothing believed before it was compared
(:mod:`wirt.plan.save_format`)."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import select
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from wirt.model.errors import CorruptState, NotFound, Shortage, Unavailable, WirtError
from wirt.model.units import MIB
from wirt.plan import save_format as frame
from wirt.ports.backup_store import Stopped
from wirt.ports.save_files import SaveFacts
from wirt.ports.storage import Progress
from wirt.storage import backup_files as files

LOOK_MS = 200
"""How often a thread that waits for a pipe looks whether it is to end."""


class Writer:
    """A new file, of which this object has the only descriptor."""

    def __init__(self, part: Path, header: bytes) -> None:
        self._path = part
        self._sum = hashlib.sha256()
        self._at = self._chunks = self._plain = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._file = io.FileIO(os.open(part, flags, 0o600), "wb")
        except OSError as error:
            raise failed(part, error) from error
        self._header = header
        try:
            self._put(frame.prefix(header))
        except BaseException:
            self.remove()
            self.close()
            raise

    def pack(self, pipe: io.FileIO, stop: threading.Event) -> None:
        """All that comes out of ``pipe``, until its other end is closed."""
        with pipe:
            for content in _chunks(pipe, stop):
                packed = files.pack(content)
                codec, packed = (frame.ZSTD, packed) if len(packed) < len(content) else (frame.STORED, content)
                self._put(frame.chunk(self._chunks, codec, len(content), packed) + packed)
                self._chunks += 1
                self._plain += len(content)

    def end(self, tail: bytes) -> SaveFacts:
        """Whole, and there after a loss of power."""
        tail_at, framed = self._at, frame.tail(tail)
        self._put(framed)
        self._put(frame.end(self._chunks, self._plain, tail_at, self._at + frame.END.size))
        self._put(self._sum.digest())
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise failed(self._path, error) from error
        return SaveFacts(self._header, tail, self._plain, self._at)

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        self._file.close()

    def _put(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise failed(self._path, error) from error
        self._sum.update(data)
        self._at += len(data)


class Reader:
    """A file that was opened once, so that what was looked at is what is read. Closed by :meth:`feed`."""

    def __init__(self, path: Path) -> None:
        self._what = str(path)
        self._file = open_saved(path)
        try:
            self._end, self.facts = self.look(self._file, self._what)
        except BaseException:
            self._file.close()
            raise

    @staticmethod
    def look(file: io.FileIO, what: str) -> tuple[frame.End, SaveFacts]:
        """Both ends of ``file``."""
        size = os.fstat(file.fileno()).st_size
        length, said = frame.read_prefix(_read(file, 0, frame.PREFIX.size, what), size, what)
        header = _read(file, frame.PREFIX.size, length, what)
        if frame.digest(header) != said:
            raise frame.damaged(what, frame.PREFIX.size, "its header's checksum is another")
        at = size - frame.END.size
        end = frame.read_end(_read(file, at, frame.END.size, what), size, length, what)
        if at - end.tail_at > frame.TAIL.size + frame.MOST_TAIL:
            raise frame.damaged(what, end.tail_at, "its tail is too long")
        tail = frame.read_tail(_read(file, end.tail_at, at - end.tail_at, what), end, what)
        return end, SaveFacts(header, tail, end.plain, size)

    def feed(self, pipe: io.FileIO, stop: threading.Event, progress: Progress) -> None:
        """Its memory into ``pipe``, for as long as somebody reads there; the rest is compared all the same."""
        with self._file, pipe:
            os.set_blocking(pipe.fileno(), False)
            summed, listens, at, chunks, plain = hashlib.sha256(), True, 0, 0, 0
            start = frame.PREFIX.size + len(self.facts.header)
            at = _sum_up(self._file, summed, 0, start, self._what)
            while at < self._end.tail_at:
                head = _read(self._file, at, frame.CHUNK.size, self._what)
                chunk = frame.read_chunk(head, at, self._end.tail_at - at, self._what)
                packed = _read(self._file, at + frame.CHUNK.size, chunk.packed, self._what)
                frame.check_chunk(chunks, chunk, packed, at, self._what)
                content = packed if chunk.codec == frame.STORED else self._unpacked(chunk, packed, at)
                listens = listens and _write(pipe, content, stop)
                if stop.is_set():
                    raise Stopped
                summed.update(head)
                summed.update(packed)
                at, chunks, plain = at + frame.CHUNK.size + chunk.packed, chunks + 1, plain + chunk.plain
                progress(at / self._end.file_bytes)
            if (chunks, plain) != (self._end.chunks, self._end.plain):
                raise frame.damaged(self._what, at, f"{plain} bytes of memory, and not {self._end.plain}")
            _sum_up(self._file, summed, at, self._end.file_bytes - frame.DIGEST, self._what)
            if summed.digest() != self._end.digest:
                raise frame.damaged(self._what, self._end.file_bytes - frame.DIGEST, "the checksum of all of it")

    def _unpacked(self, chunk: frame.Chunk, packed: bytes, at: int) -> bytes:
        what = f"{self._what}: the chunk at byte {at}"
        content = files.unpack(packed, chunk.plain, what)
        if len(content) != chunk.plain:
            raise CorruptState(f"{what} is damaged: its size is another")
        return content


def open_saved(path: Path) -> io.FileIO:
    """A plain file, to read."""
    try:
        file = io.FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY), "rb")
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}") from error
    except OSError as error:
        raise failed(path, error) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise CorruptState(f"{path} is no plain file, and so no saved guest")
    return file


def failed(path: Path, error: OSError) -> WirtError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        room = ""
        with contextlib.suppress(OSError):
            room = f" ({shutil.disk_usage(path.parent).free // MIB} MiB are left there)"
        return Shortage(f"no room for {path}: {error.strerror}{room}", hint="make room, or name another place")
    return Unavailable(f"{path}: {error.strerror}")


def _chunks(pipe: io.FileIO, stop: threading.Event) -> Iterator[bytes]:
    """As large as they may be, but for the last one."""
    poll, content = select.poll(), bytearray()
    poll.register(pipe.fileno(), select.POLLIN)
    while True:
        if not poll.poll(LOOK_MS):
            if stop.is_set():
                raise Stopped
            continue
        data = os.read(pipe.fileno(), frame.CHUNK_BYTES - len(content))
        content += data
        if content and (not data or len(content) == frame.CHUNK_BYTES):
            yield bytes(content)
            content.clear()
        if not data:
            return


def _write(pipe: io.FileIO, content: bytes, stop: threading.Event) -> bool:
    """Whether anybody listens still."""
    poll, left = select.poll(), memoryview(content)
    poll.register(pipe.fileno(), select.POLLOUT)
    while left and not stop.is_set():
        if not poll.poll(LOOK_MS):
            continue
        try:
            left = left[os.write(pipe.fileno(), left) :]
        except BlockingIOError:
            continue
        except BrokenPipeError:
            return False
    return True


def _read(file: io.FileIO, at: int, size: int, what: str) -> bytes:
    """What is there of it."""
    parts, left = [], size
    try:
        while left and (part := os.pread(file.fileno(), left, at)):
            parts.append(part)
            at, left = at + len(part), left - len(part)
    except OSError as error:
        raise Unavailable(f"{what} can't be read at byte {at}: {error.strerror}") from error
    return b"".join(parts)


def _sum_up(file: io.FileIO, summed: hashlib._Hash, at: int, until: int, what: str) -> int:
    summed.update(_read(file, at, until - at, what))
    return until
