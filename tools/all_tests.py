"""``make test``: parts side by side, because one pytest leaves a core idle; then, alone, the tests that measure.

Each part is a process of its own. Its lines are shown as they come, with its name before them; what pytest says
once its tests are over (failures, the summary) in one piece. Every part runs to its end whatever becomes of the
others, and one that fails is a failure of all: what it said last is said again at the very end. Ctrl-C, SIGTERM
and SIGHUP reach every part as one Ctrl-C: pytest ends what its tests started. So it is if this process is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOSTS = ("tests/system", "tests/images", "tests/testhost")
"""Whole hosts, and what is built for them: half of the time. A new folder of tests is among the others, which are
what is named nowhere here."""
MEASURING = ("tests/neighbours", "tests/network/test_rates.py", "tests/cli/test_budget.py")
"""They compare times, and a busy neighbour is in their way."""
QUICK = "not long and not testhost"
NOT_ONE = 5
"""pytest's exit code when no test is selected (docs.pytest.org, Exit codes)."""
CANCELLED = 128 + signal.SIGINT
LOOK_S = 0.2
AGAIN_LINES = 150
"""Of a part that failed, so many of its last lines once more when all is over: who keeps only the end of what was
printed still learns what failed."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    name: str
    command: tuple[str, ...]


def the_parts(options: Sequence[str]) -> list[list[Part]]:
    """What runs side by side, in turn; ``options`` are pytest's."""
    pytest = (sys.executable, "-m", "pytest", "-m", QUICK, *(["--color=yes"] if sys.stdout.isatty() else []))
    others = ("tests", *(f"--ignore={path}" for path in (*HOSTS, *MEASURING)))
    return [
        [
            Part("lint", ("make", "--no-print-directory", "lint")),
            Part("hosts", (*pytest, *HOSTS, *options)),
            Part("others", (*pytest, *others, *options)),
        ],
        [Part("measuring", (*pytest, *MEASURING, *options))],
    ]


class Running:
    """A part's process. It writes to a file: what it leaves behind can keep no reader waiting."""

    def __init__(self, part: Part, say: Say) -> None:
        self.part, self._say = part, say
        self._output = os.memfd_create(part.name)
        self._seen_bytes = 0
        self._held: list[bytes] = []
        self.last: deque[bytes] = deque(maxlen=AGAIN_LINES)
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            ("setpriv", "--pdeathsig=INT", "--", *part.command),  # a Ctrl-C too when this program is killed
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C comes to this program alone, which sends it on once
        )

    def interrupt(self) -> None:
        """As a terminal does: the process, and what it started."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGINT)

    def show(self) -> int | None:
        """Say what is new; the exit code, once it has ended and all is said."""
        status = self.process.poll()
        new = os.pread(self._output, 1 << 26, self._seen_bytes)
        if status is None:
            new = new[: new.rfind(b"\n") + 1]
        self._seen_bytes += len(new)
        for line in new.splitlines():
            if self._held or line.startswith(b"====="):
                self._held.append(line)
            else:
                self._tell(line)
        if status is not None:
            for line in self._held:
                self._tell(line)
            self._tell(b"ended with %d after %.0f s" % (status, time.monotonic() - self._began))
            os.close(self._output)
        return status

    def tell_again(self) -> None:
        for line in tuple(self.last):
            self._tell(line)

    def _tell(self, line: bytes) -> None:
        self.last.append(line)
        self._say(f"{self.part.name:>9} | {line.decode(errors='replace')}")


class Runner:
    """Runs parts, and knows how each ended."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._running: list[Running] = []
        self.ended: dict[str, int] = {}
        self._failed: list[Running] = []
        self.cancelled = False

    def run(self, together: Sequence[Part]) -> None:
        """All at the same time. Returns when the last has ended."""
        for part in together:
            if not self.cancelled:
                self._running.append(Running(part, self._say))
        if self.cancelled:  # perhaps before the last was in the list
            self.cancel()
        while self._running:
            for each in list(self._running):
                status = each.show()
                if status is not None:
                    self.ended[each.part.name] = status
                    self._running.remove(each)
                    if status not in (0, NOT_ONE):
                        self._failed.append(each)
            time.sleep(LOOK_S)

    def tell_failures_again(self) -> None:
        for each in self._failed:
            each.tell_again()

    def cancel(self, *_: object) -> None:
        self.cancelled = True
        for each in self._running:
            each.interrupt()


def verdict(ended: Mapping[str, int]) -> tuple[int, str]:
    """The exit code of all, and the last word. A part in which ``-k`` selects nothing is no failure; all are."""
    failed = {name: status for name, status in ended.items() if status not in (0, NOT_ONE)}
    if failed:
        return 1, f"failed: {', '.join(failed)}"
    if all(status == NOT_ONE for name, status in ended.items() if name != "lint"):
        return NOT_ONE, "not one test was selected; that is a failure"
    return 0, "all parts passed"


def main(options: Sequence[str]) -> int:
    runner = Runner(lambda line: print(line, flush=True))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, runner.cancel)
    for together in the_parts(options):
        runner.run(together)
    if not runner.cancelled:
        runner.tell_failures_again()
    status, word = (CANCELLED, "cancelled") if runner.cancelled else verdict(runner.ended)
    print(f"make test: {word}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
