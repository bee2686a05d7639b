"""A guest that says a hundred times a second on its console that it lives, heard from outside: the same ear for
whoever moves it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

TICK_MS = 10
_LOOK_S = 0.001
_SEARCH_S = 0.005
QUIET_S = 0.3
"""Before a move is timed the guest is heard for so long."""

Find = Callable[[], Path | None]


@dataclass(slots=True)
class Heard:
    """``silence_s``: the longest time without a word from the guest, wherever it was. ``arrived_at``: its first
    word from the place it moved to, in seconds since the epoch."""

    silence_s: float = 0.0
    arrived_at: float | None = None
    arrived: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def listening(here: Path, there: Find) -> Iterator[Heard]:
    """To the guest's console ``here``, and ``there`` once there is one."""
    heard, over = Heard(), threading.Event()
    thread = threading.Thread(target=_listen, args=(here, there, heard, over))
    thread.start()
    try:
        time.sleep(QUIET_S)
        heard.silence_s = 0.0
        yield heard
    finally:
        over.set()
        thread.join()


def _listen(here: Path, there: Find, heard: Heard, over: threading.Event) -> None:
    size, last, found, searched = _size(here), time.monotonic(), None, 0.0
    while not over.is_set():
        now = time.monotonic()
        if found is None and now - searched > _SEARCH_S:
            found, searched = there(), now
        grown = _size(here)
        if found is not None and _size(found) > 0:
            heard.silence_s = max(heard.silence_s, now - last)
            heard.arrived_at = time.time()
            heard.arrived.set()
            return
        if grown != size:
            heard.silence_s, size, last = max(heard.silence_s, now - last), grown, now
        time.sleep(_LOOK_S)


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0
