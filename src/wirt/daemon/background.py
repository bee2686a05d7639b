"""``wirtd --background``: start a daemon that outlives its starter, and tell when it serves or why not."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

from wirt.model.errors import Shortage
from wirt.wire.home import Home

START_S = 25.0
TICK_S = 0.05
LAST_WORDS_BYTES = 2000
READY = b"ready\n"
SERVED_BY_ANOTHER = 3
"""The exit status when another daemon has this home, or is about to."""


def start(home: Home, *, join: bool) -> int:
    """0 once the daemon serves; with ``join`` also when another one that has the home does. On failure its own
    last words go to standard error, and the status is 1."""
    log = Path(home.log)
    try:
        output = log.open("ab")
    except OSError as error:
        raise Shortage(
            f"the log {log} can't be written: {error.strerror}",
            hint="make room or get the right to it, or set WIRT_HOME to another directory",
        ) from error
    readable, writable = os.pipe()
    with output:
        begin = output.tell()
        child = subprocess.Popen(
            [sys.executable, "-m", "wirt.daemon.main", "--ready-fd", str(writable)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(writable,),
            start_new_session=True,
            cwd="/",
        )
    os.close(writable)
    ready, _, _ = select.select([readable], [], [], START_S)
    told = os.read(readable, LAST_WORDS_BYTES) if ready else b""
    os.close(readable)
    if told == READY:
        return 0
    if not ready:
        child.kill()
        sys.stderr.write(f"wirtd: it did not come up within {START_S:g} s; see {log}\n")
        return 1
    if child.wait() == SERVED_BY_ANOTHER and join and _served(home):
        return 0
    words = told.decode(errors="replace") or _last_words(log, begin)
    sys.stderr.write(words or f"wirtd: it ended in start-up; see {log}\n")
    return 1


class Starter:
    """Whoever started this daemon and waits at the other end of the pipe ``descriptor``, if anyone does."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @property
    def waits(self) -> bool:
        return self._descriptor is not None

    def tell(self, words: bytes) -> None:
        """``READY``, or why it ends: then the log need not be looked into, and may be on a full disk."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.write(descriptor, words[:LAST_WORDS_BYTES])
            os.close(descriptor)


def _served(home: Home) -> bool:
    """Whether the daemon that has the home serves it, or does so within the time of a start."""
    for _ in range(int(START_S / TICK_S)):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if _connects(probe, Path(home.socket)):
                return True
        time.sleep(TICK_S)
    return False


def _connects(probe: socket.socket, path: Path) -> bool:
    """Through the directory's descriptor, since a socket's name may have 107 bytes only (unix(7))."""
    try:
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        return probe.connect_ex(f"/proc/self/fd/{directory}/{path.name}") == 0
    finally:
        os.close(directory)


def _last_words(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(begin)
        return file.read(LAST_WORDS_BYTES).decode(errors="replace")
