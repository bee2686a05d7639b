"""Running a job to its end in front of a person: progress while it runs, Ctrl-C takes it back."""

from __future__ import annotations

import signal
import sys

from wirt.cli.text import printable
from wirt.client.decode import decode
from wirt.client.errors import ClientError
from wirt.client.jobs import FINISHED, cancel, failure, follow, last
from wirt.wire.v1 import Job, Notice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from wirt.cli.session import Session
    from wirt.client.errors import Json

_BAR = 20


def run_job(session: Session, submit: Callable[[], Json], *, quiet: bool = False, steps: bool = False) -> Json:
    """The finished ``Job`` that ``submit`` began, its notices told (they may be in its first state only: those of
    a configuration are not the job's). ``steps`` tells each step as it begins.

    Raises :class:`ApiProblem` when it failed. After Ctrl-C the job has been cancelled and undone when
    ``KeyboardInterrupt`` leaves here; a second Ctrl-C leaves at once.
    """
    with _DeferredInterrupt() as interrupt:
        document = latest = submit()
    tell_notices(session, document.get("notices"))
    progress = _Progress(session, bar=not quiet, steps=steps)
    try:
        if interrupt.seen:
            raise KeyboardInterrupt
        for latest in follow(session.api, document):
            progress.show(latest)
    except KeyboardInterrupt:
        progress.erase()
        _undo(session, latest)
        raise
    finally:
        progress.erase()
    notices = _list(document.get("notices"))
    later = [notice for notice in _list(latest.get("notices")) if notice not in notices]
    tell_notices(session, later)
    problem = failure(latest)
    if problem is not None:
        raise problem
    return {**latest, "notices": notices + later}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def tell_notices(session: Session, notices: object) -> None:
    """Each ``Notice`` as compilers print theirs: ``FILE:LINE:COLUMN: warning: key: message``."""
    for notice in (decode(Notice, item) for item in _list(notices)):
        place = ":".join(str(part) for part in (notice.file, notice.line, notice.column) if part is not None)
        key = None if notice.key and notice.message.startswith(notice.key) else notice.key
        session.say(": ".join(part for part in (place, "warning", key, notice.message) if part))


def _undo(session: Session, document: Json) -> None:
    job = decode(Job, document)
    if job.state not in FINISHED:
        session.say(f"wirt: undoing {job.kind} of {job.subject} ...")
        try:
            with _DeferredInterrupt():
                document = cancel(session.api, job.id)
            document = last(session.api, document)
        except KeyboardInterrupt:
            session.say(f"wirt: wirtd goes on undoing job {job.id}; wirt jobs shows how far it is")
            raise
        job = decode(Job, document)
    if job.state == "cancelled":
        session.say(f"wirt: {job.kind} of {job.subject} was cancelled and undone")
    elif job.state == "done":
        session.say(f"wirt: {job.kind} of {job.subject} was already done")
    elif job.error is not None:
        session.complain(ClientError(job.error.message, hint=job.error.hint))


def deferred_interrupt() -> _DeferredInterrupt:
    """While it lasts Ctrl-C is only noted, in ``seen``; a second one is not."""
    return _DeferredInterrupt()


class _DeferredInterrupt:
    """While a request is under way whose answer must not be lost, Ctrl-C is only noted; a second one is not."""

    def __init__(self) -> None:
        self.seen = False

    def __enter__(self) -> _DeferredInterrupt:
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.seen:
            raise KeyboardInterrupt
        self.seen = True


class _Progress:
    """One line on standard error that is written over; nothing where that is not a terminal."""

    def __init__(self, session: Session, *, bar: bool, steps: bool) -> None:
        self._session = session
        self._bar = bar and sys.stderr.isatty()
        self._steps = steps
        self._shown = False
        self._told: set[str] = set()

    def show(self, document: Json) -> None:
        job = decode(Job, document)
        if self._steps:
            for step in job.steps:
                key = f"{step.name}: {step.state}"
                if step.state not in ("waiting", "queued", "pending") and key not in self._told:
                    self._told.add(key)
                    self._session.say(f"wirt: {job.subject}: {key}")
        if self._bar and job.state not in FINISHED:
            done = round(min(1.0, max(0.0, job.progress)) * _BAR)
            text = printable(f"{job.subject}: {job.message or job.kind}")[:50]
            sys.stderr.write(f"\r\x1b[K{text} [{'#' * done}{'-' * (_BAR - done)}] {job.progress:4.0%}")
            sys.stderr.flush()
            self._shown = True

    def erase(self) -> None:
        if self._shown:
            self._shown = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
