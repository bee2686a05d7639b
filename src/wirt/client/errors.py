"""What can go wrong between a command and wirtd.

::

    ClientError                   one sentence for people, and a hint at what to do next
    |-- DaemonUnreachable         no wirtd at the socket, and none could be started
    |-- BadAnswer                 something answered that does not speak this API
    |   `-- Disconnected          ... or stopped in the middle: wirtd may have been restarted
    |-- TimedOut                  no answer before the deadline; whether it acted is unknown
    `-- ApiProblem                wirtd refused or failed: RFC 9457's problem+json
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]
    """A JSON object as it came; which of ``wirt.wire.v1``'s types it is, the caller knows."""


class ClientError(Exception):
    """Base of all. ``code`` is stable and is what ``-o json`` shows."""

    code = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def document(self) -> Json:
        """The error as a JSON object, for ``-o json``."""
        return {"code": self.code, "title": self.message, "hint": self.hint}


class DaemonUnreachable(ClientError):
    code = "daemon-unreachable"


class BadAnswer(ClientError):
    code = "bad-answer"


class Disconnected(BadAnswer):
    code = "disconnected"


class TimedOut(ClientError):
    code = "timed-out"


class ApiProblem(ClientError):
    """``place`` is ``FILE:LINE:COLUMN`` as far as it is known, ``key`` the configuration's key at fault."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int,
        hint: str | None = None,
        place: str = "",
        key: str | None = None,
        raw: Json | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status
        self.place = place
        self.key = key
        self.raw = raw

    def document(self) -> Json:
        return self.raw if self.raw is not None else {**super().document(), "status": self.status}
