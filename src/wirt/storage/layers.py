"""Layers of images in files of this host, sent and received by threads.

On the stream: for each block that has anything in it its number and its length (8 and 4 bytes, the highest first)
and its bytes, in order; then a number past the last and the length 0; then, from the other side, one byte once all
of it is on its disk and is what it should be. What comes from the other side is believed nothing but its bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import io
import os
import shutil
import socket
import ssl
import stat
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from wirt.model.errors import BadInput, ImageChanged, NotFound, Shortage, Unavailable, WirtError
from wirt.model.units import MIB
from wirt.ports.backup_store import Stopped
from wirt.ports.layers import BLOCK, Content
from wirt.ports.migration import Channel
from wirt.ports.storage import Progress
from wirt.ports.threads import in_thread
from wirt.storage.secured import secured

LOOK_S = 0.2
"""How often a thread that waits for the other side looks whether it is to end."""
_HEAD = struct.Struct(">QI")
_NUMBER = struct.Struct(">Q")
_ZEROS = bytes(BLOCK)
_DONE = b"\x01"


class HostLayerFiles:
    """On whatever file system the paths lead to."""

    async def length(self, path: str) -> int:
        return await in_thread(None, _length, path)

    async def content(self, path: str) -> Content:
        stop = threading.Event()
        return await in_thread(stop, _content, path, stop)

    async def send(
        self, path: str, wanted: Content, channel: Channel, progress: Progress, *, bytes_per_s: int | None = None
    ) -> int:
        stop, loop = threading.Event(), asyncio.get_running_loop()

        def tell(share: float) -> None:
            with contextlib.suppress(RuntimeError):  # the daemon has ended meanwhile
                loop.call_soon_threadsafe(progress, share)

        return await in_thread(stop, _send, path, wanted, channel, tell, bytes_per_s, stop)

    async def receive(self, path: str, wanted: Content, channel: Channel) -> None:
        stop = threading.Event()
        await in_thread(stop, _receive, path, wanted, channel, stop)


class _Digest:
    def __init__(self) -> None:
        self._sum = hashlib.sha256()

    def add(self, number: int, block: bytes) -> None:
        self._sum.update(_NUMBER.pack(number))
        self._sum.update(block)

    def of(self, length: int) -> Content:
        self._sum.update(_NUMBER.pack(length))
        return Content(length, self._sum.hexdigest())


def _length(path: str) -> int:
    with _opened(path, os.O_RDONLY) as file:
        return os.fstat(file.fileno()).st_size


def _content(path: str, stop: threading.Event) -> Content:
    digest = _Digest()
    with _opened(path, os.O_RDONLY) as file:
        length = os.fstat(file.fileno()).st_size
        for number, block in _blocks(file, length, path):
            if stop.is_set():
                raise Stopped
            digest.add(number, block)
    return digest.of(length)


def _send(
    path: str,
    wanted: Content,
    channel: Channel,
    progress: Progress,
    bytes_per_s: int | None,
    stop: threading.Event,
) -> int:
    with contextlib.closing(channel.stream), _opened(path, os.O_RDONLY) as file:
        length = os.fstat(file.fileno()).st_size
        digest, sent, began = _Digest(), 0, time.monotonic()
        with contextlib.closing(secured(channel, serves=False)) as stream:
            stream.settimeout(LOOK_S)
            for number, block in _blocks(file, length, path):
                _put(stream, _HEAD.pack(number, len(block)) + block, stop)
                digest.add(number, block)
                sent += len(block)
                progress(number * BLOCK / max(length, 1))
                if bytes_per_s:
                    _wait(began + sent / bytes_per_s, stop)
            if digest.of(length) != wanted:
                raise _changed(path)
            _put(stream, _HEAD.pack(-(-length // BLOCK), 0), stop)
            if _get(stream, len(_DONE), stop) != _DONE:
                raise Unavailable("the other host does not say that it has a disk's layer")
            progress(1.0)
    return sent


def _receive(path: str, wanted: Content, channel: Channel, stop: threading.Event) -> None:
    with (
        contextlib.closing(channel.stream),
        _opened(path, os.O_RDWR) as file,
        contextlib.closing(secured(channel, serves=True)) as stream,
    ):
        stream.settimeout(LOOK_S)
        if _taken(file, path, wanted.length, stream, stop) != wanted:
            raise ImageChanged(f"what came for {path} is not what was to come", hint="move the domain again")
        _put(stream, _DONE, stop)


def _taken(file: io.FileIO, path: str, length: int, stream: socket.socket, stop: threading.Event) -> Content:
    digest = _Digest()
    try:
        os.ftruncate(file.fileno(), 0)
        os.ftruncate(file.fileno(), length)
        for number, block in _arriving(stream, length, stop):
            _write(file, number * BLOCK, block)
            digest.add(number, block)
        os.fsync(file.fileno())
    except OSError as error:
        raise _failed(path, error) from error
    return digest.of(length)


def _arriving(stream: socket.socket, length: int, stop: threading.Event) -> Iterator[tuple[int, bytes]]:
    """In order, and within ``length``."""
    least, most = 0, -(-length // BLOCK)
    while True:
        number, size = _HEAD.unpack(_get(stream, _HEAD.size, stop))
        if size == 0:
            return
        if not least <= number < most or size != min(BLOCK, length - number * BLOCK):
            raise BadInput("the other host sends a disk's layer in a form that can't be right")
        least = number + 1
        yield number, _get(stream, size, stop)


def _blocks(file: io.FileIO, length: int, path: str) -> Iterator[tuple[int, bytes]]:
    """Those with anything in them, of a file that had ``length`` when it was opened."""
    at = 0
    try:
        while at < length:
            start, end = _extent(file, at, length)
            at = start // BLOCK * BLOCK
            while at < end:
                block = os.pread(file.fileno(), min(BLOCK, length - at), at)
                if len(block) < min(BLOCK, length - at):
                    raise _changed(path)
                if block != _ZEROS[: len(block)]:
                    yield at // BLOCK, block
                at += BLOCK
    except OSError as error:
        raise _failed(path, error) from error


def _extent(file: io.FileIO, at: int, length: int) -> tuple[int, int]:
    """Where data begins at ``at`` or behind it, and where it ends (lseek(2), SEEK_DATA); a file system that knows
    of no holes has data everywhere."""
    try:
        start = os.lseek(file.fileno(), at, os.SEEK_DATA)
        return start, min(length, os.lseek(file.fileno(), start, os.SEEK_HOLE))
    except OSError as error:
        if error.errno == errno.ENXIO:
            return length, length
        return at, length


def _opened(path: str, flags: int) -> io.FileIO:
    try:
        file = io.FileIO(
            os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY),
            "rb" if flags == os.O_RDONLY else "r+b",
        )
    except FileNotFoundError as error:
        raise NotFound(f"{path} is gone") from error
    except OSError as error:
        raise _failed(path, error) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise BadInput(f"{path} is no plain file")
    return file


def _write(file: io.FileIO, at: int, block: bytes) -> None:
    left = memoryview(block)
    while left:
        done = os.pwrite(file.fileno(), left, at)
        left, at = left[done:], at + done


def _put(stream: socket.socket, data: bytes, stop: threading.Event) -> None:
    left = memoryview(data)
    while left:
        if stop.is_set():
            raise Stopped
        try:
            left = left[stream.send(left) :]
        except (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            continue
        except OSError as error:
            raise _cut(error) from error


def _get(stream: socket.socket, size: int, stop: threading.Event) -> bytes:
    data = bytearray()
    while len(data) < size:
        if stop.is_set():
            raise Stopped
        try:
            piece = stream.recv(size - len(data))
        except (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            continue
        except OSError as error:
            raise _cut(error) from error
        if not piece:
            raise _cut(None)
        data += piece
    return bytes(data)


def _wait(until: float, stop: threading.Event) -> None:
    if stop.wait(max(0.0, until - time.monotonic())):
        raise Stopped


def _cut(error: OSError | None) -> Unavailable:
    words = f": {error.strerror or error}" if error is not None else ""
    return Unavailable(f"the stream of a disk's layer was cut{words}")


def _changed(path: str) -> ImageChanged:
    return ImageChanged(f"{path} has changed while it was read", hint="what guests stand on must stay as it is")


def _failed(path: str, error: OSError) -> WirtError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        room = ""
        with contextlib.suppress(OSError):
            room = f" ({shutil.disk_usage(Path(path).parent).free // MIB} MiB are left there)"
        return Shortage(f"no room for {path}: {error.strerror}{room}", hint="make room, or name another pool")
    return Unavailable(f"{path}: {error.strerror}")
