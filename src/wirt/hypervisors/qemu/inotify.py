"""Being told that a file was written to (inotify(7)), for an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable

_IN_MODIFY = 0x2
_libc = ctypes.CDLL(None, use_errno=True)
_EVENTS_BYTES = 4096


class FileWatch:
    """Calls ``changed`` after the open file ``file`` was written to or cut, at most every ``settle_s``: whoever
    writes in hundreds of small bursts must not wake the daemon with each. Where there is no inotify it calls every
    ``settle_s`` regardless. Made in a running loop."""

    def __init__(self, file: int, changed: Callable[[], None], settle_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = changed
        self._settle_s = settle_s
        self._timer: asyncio.TimerHandle | None = None
        self._descriptor = _watching(file)
        self._listen()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _listen(self) -> None:
        self._timer = None
        if self._descriptor < 0:
            self._timer = self._loop.call_later(self._settle_s, self._look)
        else:
            self._loop.add_reader(self._descriptor, self._look)

    def _look(self) -> None:
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            with contextlib.suppress(BlockingIOError):
                os.read(self._descriptor, _EVENTS_BYTES)
            self._timer = self._loop.call_later(self._settle_s, self._listen)
        else:
            self._timer = self._loop.call_later(self._settle_s, self._look)
        self._changed()


def _watching(file: int) -> int:
    """An inotify descriptor, or -1: a user may only have so many."""
    descriptor = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    if descriptor >= 0 and _libc.inotify_add_watch(descriptor, b"/proc/self/fd/%d" % file, _IN_MODIFY) < 0:
        os.close(descriptor)
        return -1
    return descriptor
