"""Everything that wirt raises on purpose.

::

    WirtError                     what happened, to which domain, and a hint at what to do next
    |-- BadInput                  the request can't be right (CLI exit 1, HTTP 422)
    |   `-- ConfigError           ... and this is the place: file, line, column, key
    |-- NotFound                  no such domain, job, image (404)
    |-- Conflict                  right by itself, but not now (409)
    |   |-- NameInUse
    |   |-- IllegalState          the domain's state forbids the move
    |   |-- ResourceBusy          a disk or a socket is held by someone else
    |   |-- ImageChanged          an image stands on other files than when it was first used
    |   `-- StoreConflict         a compare-and-put found another revision
    |-- Shortage                  memory, disk space, numbers ran out (507)
    |-- Unavailable               a part can't serve now (503)
    |   |-- DaemonUnreachable
    |   |-- PeerUnreachable       another host's daemon does not answer
    |   |-- DeadlinePassed        what was waited for did not come in time (504)
    |   |-- Compacted             a watch asked for revisions that are gone
    |   `-- StoreClosed
    |-- HypervisorError           the hypervisor refused or failed (502)
    |   |-- LaunchFailed          it died in start-up; carries its own last words
    |   `-- HypervisorSilent      it did not answer within its deadline
    |-- ImageBuildFailed          (500)
    |-- CorruptState              stored data can't be understood; nothing was changed (500)
    `-- JobCancelled              someone cancelled the job; it has been undone (409)

A layer that adds context does so once, in ``raise ... from``; messages never repeat their cause.
"""

from __future__ import annotations


class WirtError(Exception):
    """Base of all deliberate errors.

    ``message`` is one sentence for people; ``hint`` says what to do next. ``code`` is stable and goes over
    the wire.
    """

    code = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class BadInput(WirtError):
    code = "bad-input"


class ConfigError(BadInput):
    """A configuration is wrong at a known place. ``line`` and ``column`` count from 1."""

    code = "config-error"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.file = file
        self.line = line
        self.column = column
        self.key = key

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        text = super().__str__()
        if self.key is not None:
            text = f"{self.key}: {text}"
        return f"{place}: {text}" if place else text


class NotFound(WirtError):
    code = "not-found"


class Conflict(WirtError):
    code = "conflict"


class NameInUse(Conflict):
    code = "name-in-use"


class IllegalState(Conflict):
    code = "illegal-state"


class ResourceBusy(Conflict):
    code = "resource-busy"


class ImageChanged(Conflict):
    code = "image-changed"


class StoreConflict(Conflict):
    """A transaction's comparison failed: someone else wrote first. Nothing was written."""

    code = "store-conflict"

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class Shortage(WirtError):
    code = "shortage"


class Unavailable(WirtError):
    code = "unavailable"


class DaemonUnreachable(Unavailable):
    code = "daemon-unreachable"


class PeerUnreachable(Unavailable):
    """Another host's daemon did not answer: whether it did what it was asked to is not known."""

    code = "peer-unreachable"


class DeadlinePassed(Unavailable):
    code = "deadline-passed"


class Compacted(Unavailable):
    """A watch asked for revisions that no longer exist: list again, then watch from there."""

    code = "compacted"

    def __init__(self, oldest: int) -> None:
        super().__init__(f"revisions before {oldest} have been compacted away")
        self.oldest = oldest


class StoreClosed(Unavailable):
    code = "store-closed"


class HypervisorError(WirtError):
    code = "hypervisor-error"


class LaunchFailed(HypervisorError):
    code = "launch-failed"


class HypervisorSilent(HypervisorError):
    code = "hypervisor-silent"


class ImageBuildFailed(WirtError):
    code = "image-build-failed"


class CorruptState(WirtError):
    code = "corrupt-state"


class JobCancelled(Conflict):
    code = "job-cancelled"
