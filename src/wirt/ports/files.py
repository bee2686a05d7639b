"""Files that may lie on a server which has gone. Whoever touches one then waits in the kernel, and can't be
interrupted: so no touch is made in the event loop, each has its end, and none keeps the others, the daemon's end
or the pool of threads that all share.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from wirt.model.errors import Unavailable
from wirt.ports.threads import deliver

TOUCH_S = 20.0
_AT_FDCWD = -100
_AT_STATX_DONT_SYNC = 0x4000  # linux/fcntl.h
_STATX_TYPE_MODE_INO = 0x1 | 0x2 | 0x100  # linux/stat.h
P = ParamSpec("P")
T = TypeVar("T")

_overdue: Counter[str] = Counter()
"""Threads that wait for what does not come, by the directory."""


async def touch(path: str | os.PathLike[str], function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``function``, which touches ``path``, gives. ``Unavailable`` after :data:`TOUCH_S`, and at once while
    others still wait there; what it was to do may yet be done then."""
    return await _touch(_place(path), functools.partial(function, *args, **kwargs), lambda late: None)


@asynccontextmanager
async def opened(path: str, flags: int, *, by: str | None = None) -> AsyncIterator[int]:
    """A descriptor of the file, closed at the end. ``by``: another name of it, as ``/proc/PID/fd/N``. ``OSError``,
    or ``Unavailable`` as :func:`touch`."""
    call = functools.partial(os.open, by or path, flags | os.O_CLOEXEC, 0o600)
    descriptor = await _touch(_place(path), call, os.close)
    try:
        yield descriptor
    finally:
        await let_go(path, descriptor)


async def let_go(path: str, descriptor: int) -> None:
    """Close it. What was written to the file, by whomever, may have to reach the server first."""
    with contextlib.suppress(Unavailable):
        await _touch(_place(path), functools.partial(os.close, descriptor), lambda late: None, anyway=True)


def _place(path: str | os.PathLike[str]) -> str:
    return os.path.dirname(path)  # noqa: PTH120 (without looking at it)


async def _touch(place: str, call: Callable[[], T], late: Callable[[T], None], *, anyway: bool = False) -> T:
    """``late`` is given what comes when nobody waits any more."""
    if _overdue[place] and not anyway:
        raise _silent(place)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()
    work = functools.partial(deliver, loop, answer, call)
    threading.Thread(target=work, name=f"touches {place}", daemon=True).start()
    try:
        done, _ = await asyncio.wait({answer}, timeout=TOUCH_S)
    except asyncio.CancelledError:
        _forsake(place, answer, late)
        raise
    if not done:
        _forsake(place, answer, late)
        raise _silent(place)
    return answer.result()


def _forsake(place: str, answer: asyncio.Future[T], late: Callable[[T], None]) -> None:
    _overdue[place] += 1

    def over(answer: asyncio.Future[T]) -> None:
        _overdue[place] -= 1
        if not answer.cancelled() and answer.exception() is None:
            with contextlib.suppress(OSError):
                late(answer.result())

    answer.add_done_callback(over)


def _silent(place: str) -> Unavailable:
    return Unavailable(
        f"{place} does not answer",
        hint="is the server there, and the way to it? It is used again by itself",
    )


@dataclass(frozen=True, slots=True)
class About:
    """Of a file, what never changes: as ``st_mode``, ``st_dev``, ``st_ino`` and ``st_rdev`` of stat(2)."""

    mode: int
    device: int
    inode: int
    special: int


class _Statx(ctypes.Structure):
    """``struct statx`` (statx(2))."""

    _fields_ = (
        ("mask", ctypes.c_uint32),
        ("blksize", ctypes.c_uint32),
        ("attributes", ctypes.c_uint64),
        ("nlink", ctypes.c_uint32),
        ("uid", ctypes.c_uint32),
        ("gid", ctypes.c_uint32),
        ("mode", ctypes.c_uint16),
        ("spare0", ctypes.c_uint16),
        ("ino", ctypes.c_uint64),
        ("size_to_times", ctypes.c_uint8 * (3 * 8 + 4 * 16)),
        ("rdev_major", ctypes.c_uint32),
        ("rdev_minor", ctypes.c_uint32),
        ("dev_major", ctypes.c_uint32),
        ("dev_minor", ctypes.c_uint32),
        ("spare", ctypes.c_uint64 * 14),
    )


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def about(path: str | os.PathLike[str]) -> About:
    """What the kernel knows of a file already, and asks no server for (statx(2), AT_STATX_DONT_SYNC): of one that
    a process has open, by ``/proc/PID/fd/N``, it always knows. ``OSError``."""
    found = _Statx()
    wanted = _STATX_TYPE_MODE_INO
    done = _libc().statx(_AT_FDCWD, os.fsencode(path), _AT_STATX_DONT_SYNC, wanted, ctypes.byref(found))
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    return About(
        mode=found.mode,
        device=os.makedev(found.dev_major, found.dev_minor),
        inode=found.ino,
        special=os.makedev(found.rdev_major, found.rdev_minor),
    )
