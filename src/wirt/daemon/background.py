"""``wirtd --background``: start a daemon that outlives its starter, and tell when it serves or why not."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

from wirt.wire.home import Home

START_S = 25.0
LAST_WORDS_BYTES = 2000


def start(home: Home) -> int:
    """0 once the daemon serves. On failure its own last words go to standard error, and the status is 1."""
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
    child.wait()
    sys.stderr.write(_last_words(log, begin) or f"wirtd: it ended in start-up; see {log}\n")
    return 1


def _last_words(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(begin)
        return file.read(LAST_WORDS_BYTES).decode(errors="replace")
