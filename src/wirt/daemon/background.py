"""``wirtd --background``: start a daemon that outlives its starter, and tell when it serves or why not."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

from wirt.wire.home import Home

START_S = 25.0
TICK_S = 0.05
LAST_WORDS_BYTES = 2000
SERVED_BY_ANOTHER = 3
"""The exit status when another daemon has this home, or is about to."""


def start(home: Home, *, join: bool) -> int:
    """0 once the daemon serves; with ``join`` also when another one that has the home does. On failure its own last words go to standard error, and the status is 1."""
    readable, writable = os.pipe()
    log = Path(home.log)
    with log.open("ab") as output:
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
    told = os.read(readable, 16) if ready else b""
    os.close(readable)
    if told == b"ready\n":
        return 0
    if not ready:
        child.kill()
        sys.stderr.write(f"wirtd: it did not come up within {START_S:g} s; see {log}\n")
        return 1
    if child.wait() == SERVED_BY_ANOTHER and join and _served(home):
        return 0
    sys.stderr.write(_last_words(log, begin) or f"wirtd: it ended in start-up; see {log}\n")
    return 1


def _served(home: Home) -> bool:
    """Whether the daemon that has the home serves it, or does so within the time of a start."""
    for _ in range(int(START_S / TICK_S)):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(home.socket) == 0:
                return True
        time.sleep(TICK_S)
    return False


def _last_words(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(begin)
        return file.read(LAST_WORDS_BYTES).decode(errors="replace")
