"""Several domains to one host: their jobs are followed together, and Ctrl-C takes back all that are not over."""

from __future__ import annotations

import sys
import time

from wirt.cli.following import deferred_interrupt
from wirt.cli.text import printable
from wirt.client.decode import decode
from wirt.client.errors import ApiProblem, ClientError
from wirt.client.jobs import FINISHED, cancel, failure
from wirt.wire.v1 import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wirt.cli.session import Session
    from wirt.client.errors import Json

LOOK_S = 0.3
WIDTH = 100


class Moves:
    """``jobs`` and ``refused`` by what the domains were called on the command line."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.jobs: dict[str, Json] = {}
        self.refused: dict[str, ApiProblem] = {}
        self._lines = _Lines()

    def run(self, refs: Iterable[str], submit: Callable[[str], Json], ended: Callable[[Json], None]) -> None:
        """``submit`` begins the move of one, ``ended`` is told of each that has arrived. After Ctrl-C all are over
        when ``KeyboardInterrupt`` leaves here; a second one leaves at once."""
        try:
            for ref in refs:
                with deferred_interrupt() as interrupt:
                    self._submit(ref, submit)
                if interrupt.seen:
                    raise KeyboardInterrupt
            self._follow(ended)
        except KeyboardInterrupt:
            self._lines.erase()
            self._take_back(ended)
            raise
        finally:
            self._lines.erase()

    def _submit(self, ref: str, submit: Callable[[str], Json]) -> None:
        try:
            self.jobs[ref] = submit(ref)
        except ApiProblem as problem:
            self._lines.erase()
            self.refused[ref] = problem
            self._session.complain(problem)
        self._lines.show(self.jobs)

    def _follow(self, ended: Callable[[Json], None]) -> None:
        while any(_under_way(each) for each in self.jobs.values()):
            for ref, document in self.jobs.items():
                if _under_way(document):
                    self.jobs[ref] = self._session.api.job(decode(Job, document).id)
                    if not _under_way(self.jobs[ref]):
                        self._lines.erase()
                        self._over(self.jobs[ref], ended)
            self._lines.show(self.jobs)
            time.sleep(LOOK_S)

    def _over(self, document: Json, ended: Callable[[Json], None]) -> None:
        problem = failure(document)
        if problem is None:
            ended(document)
        else:
            words = f"{decode(Job, document).subject}: {problem.message}"
            self._session.complain(ClientError(words, hint=problem.hint))

    def _take_back(self, ended: Callable[[Json], None]) -> None:
        for ref, document in self.jobs.items():
            if _under_way(document):
                self.jobs[ref] = cancel(self._session.api, decode(Job, document).id)
                if not _under_way(self.jobs[ref]):
                    self._over(self.jobs[ref], ended)
        self._session.say("wirt: undoing what has not changed hands ...")
        self._follow(ended)
        self.tell()

    def failed(self) -> list[str]:
        return [*self.refused, *(ref for ref, each in self.jobs.items() if failure(each) is not None)]

    def tell(self) -> None:
        """A line for all."""
        failed = self.failed()
        moved = len(self.jobs) + len(self.refused) - len(failed)
        words = f"{moved} moved" + (f", {len(failed)} not: {printable(', '.join(failed))}" if failed else "")
        self._session.say(words)

    def document(self) -> Json:
        """``migrations``: jobs as they ended; ``failed``: why each that has none, or failed, did not move."""
        problems = dict(self.refused)
        for ref, each in self.jobs.items():
            problem = failure(each)
            if problem is not None:
                problems[ref] = problem
        failed = [{"domain": ref, "error": each.message, "hint": each.hint} for ref, each in problems.items()]
        return {"api": "v1", "migrations": list(self.jobs.values()), "failed": failed}


def _under_way(document: Json) -> bool:
    return decode(Job, document).state not in FINISHED


class _Lines:
    """One line for each job on standard error, written over; nothing where that is not a terminal."""

    def __init__(self) -> None:
        self._wanted = sys.stderr.isatty()
        self._shown = 0

    def show(self, jobs: dict[str, Json]) -> None:
        if not self._wanted:
            return
        self.erase()
        lines = [_line(decode(Job, each)) for each in jobs.values() if _under_way(each)]
        sys.stderr.write("".join(line + "\n" for line in lines))
        sys.stderr.flush()
        self._shown = len(lines)

    def erase(self) -> None:
        if self._shown:
            sys.stderr.write(f"\x1b[{self._shown}A\x1b[J")
            sys.stderr.flush()
            self._shown = 0


def _line(job: Job) -> str:
    return f"{job.progress:4.0%}  {printable(f'{job.subject}: {job.message or job.state}')}"[:WIDTH]
