"""Process 1 of the jail: ``python -m wirt.images.bootstrap.init PROGRAM ARGUMENTS``.

Standard input is a pipe that nobody writes to. Its end is the end of who made the jail, and then of everything in
here, since a process namespace goes with its first process (pid_namespaces(7)). (bwrap's ``--die-with-parent`` is
lost where bwrap keeps its capabilities: prctl(2), PR_SET_PDEATHSIG.)
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading


def main(*argv: str) -> int:
    threading.Thread(target=_end_with_the_pipe, daemon=True).start()
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    while True:
        # Whoever has lost his parent is this one's child.
        pid, status = os.wait()
        if pid == child.pid:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _end_with_the_pipe() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
