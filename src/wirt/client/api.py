"""The API's routes as calls. Answers are JSON objects as they came; ``wirt.client.decode`` makes wire types of
them.

Raw on purpose: ``-o json`` prints what the server said, new fields included, and ``wirt list`` can't afford the
20 ms that building ``wirt.wire.v1``'s classes takes.
"""

from __future__ import annotations

import json
import time

from wirt.client import http
from wirt.client.errors import ApiProblem, BadAnswer, DaemonUnreachable, Disconnected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirt.client.errors import Json
    from wirt.wire.home import Home
    from wirt.wire.v1 import CreateRequest

TIMEOUT_S = 30.0
"""For calls that are answered at once; generous, because a host may be busy with its guests."""
SLACK_S = 15.0
"""What a long-poll may take beyond the time that it asked for."""
LONG_POLL_S = 5.0
_GET_ATTEMPTS = 4
_PAUSE_S = 0.25


def domain_path(ref: str, action: str = "") -> str:
    """The route of the domain ``ref`` (name, domid or UUID), or of something that is done to it."""
    if not ref:
        raise ApiProblem("a domain's name can't be empty", code="bad-input", status=422)
    return f"/v1/domains/{http.quote(ref)}{'/' + action if action else ''}"


def domain_query(ref: str | None) -> str:
    """``?domain=REF``, or nothing for all domains."""
    return "" if ref is None else f"?domain={http.quote(ref)}"


class Api:
    """Talks to the wirtd of ``home``, and starts it when there is none."""

    def __init__(self, home: Home, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
        self.home = home
        self._environment = environment
        self._say = say

    # The verbs of HTTP

    def get(self, target: str, *, timeout_s: float = TIMEOUT_S) -> Json:
        return self._call("GET", target, None, timeout_s)

    def post(self, target: str, body: Mapping[str, object] | None = None, *, timeout_s: float = TIMEOUT_S) -> Json:
        return self._call("POST", target, None if body is None else json.dumps(body).encode(), timeout_s)

    def delete(self, target: str) -> Json:
        return self._call("DELETE", target, None, TIMEOUT_S)

    # What they are used for

    def domains(self, *, off_too: bool = False) -> Json:
        """A ``DomainList``."""
        return self.get("/v1/domains?all=1" if off_too else "/v1/domains")

    def domain(self, ref: str) -> Json:
        """A ``DomainDetail``."""
        return self.get(domain_path(ref))

    def act(self, ref: str, action: str, body: Mapping[str, object] | None = None) -> Json:
        """Posts ``action``: a ``Job`` for ``start`` and ``destroy``, otherwise nothing."""
        return self.post(domain_path(ref, action), body)

    def undefine(self, ref: str) -> None:
        self.delete(domain_path(ref))

    def create(self, request: CreateRequest) -> Json:
        """A ``Job``, at once; or :class:`ApiProblem` at once if the configuration is wrong."""
        return self.post("/v1/domains", _fields(request))

    def plan(self, request: CreateRequest) -> Json:
        """A ``PlanPreview``."""
        return self.post("/v1/plan", _fields(request))

    def vif(self, ref: str, action: str = "", body: Mapping[str, object] | None = None) -> Json:
        """Posts to a domain's cards: a ``Job``, or an ``AttachPreview`` for ``plan``."""
        return self.post(domain_path(ref, f"vifs{'/' + action if action else ''}"), body)

    def detach_vif(self, ref: str, card: str) -> Json:
        """A ``Job``."""
        return self.delete(domain_path(ref, f"vifs/{http.quote(card)}"))

    def wait(self, ref: str, until: str, timeout_s: float) -> Json | None:
        """The ``Domain`` once it is ``until``; ``None`` if that took longer than ``timeout_s``."""
        target = f"{domain_path(ref, 'wait')}?until={http.quote(until)}&timeout_s={timeout_s:.3f}"
        try:
            return self.get(target, timeout_s=timeout_s + SLACK_S)
        except ApiProblem as problem:
            if problem.status == 504:
                return None
            raise

    def job(self, job: str) -> Json:
        return self.get(f"/v1/jobs/{http.quote(job)}")

    def job_change(self, job: str, progress: float) -> Json:
        """The ``Job``, when it has got beyond ``progress`` or after :data:`LONG_POLL_S`."""
        target = f"/v1/jobs/{http.quote(job)}?wait_s={LONG_POLL_S:g}&progress={progress!r}"
        return self.get(target, timeout_s=LONG_POLL_S + SLACK_S)

    def cancel_job(self, job: str) -> Json:
        return self.post(f"/v1/jobs/{http.quote(job)}/cancel")

    def ensure_daemon(self) -> None:
        """For those who open the socket themselves."""
        try:
            http.connect(self.home.socket, TIMEOUT_S).close()
        except DaemonUnreachable:
            self._start()

    def _call(self, method: str, target: str, body: bytes | None, timeout_s: float) -> Json:
        # Who only asks may ask again: a wirtd that is restarted takes its long-polls with it.
        for attempt in range(_GET_ATTEMPTS if method == "GET" else 1):
            try:
                response = self._send(method, target, body, timeout_s)
            except Disconnected:
                if method != "GET" or attempt == _GET_ATTEMPTS - 1:
                    raise
                time.sleep(_PAUSE_S)
            else:
                return _answer(response.status, response.body)
        raise AssertionError("the last attempt returns or raises")

    def _send(self, method: str, target: str, body: bytes | None, timeout_s: float) -> http.Response:
        try:
            return http.request(self.home.socket, method, target, body=body, timeout_s=timeout_s)
        except DaemonUnreachable:
            self._start()
            return http.request(self.home.socket, method, target, body=body, timeout_s=timeout_s)

    def _start(self) -> None:
        from wirt.client.launch import start_daemon

        start_daemon(self.home, self._environment, self._say)


def problem(status: int, body: bytes) -> ApiProblem:
    """The error that ``body`` describes, however little of it can be understood."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("title"), str):
        return ApiProblem(f"wirtd answered with HTTP status {status}", code="error", status=status)
    parts = (document.get("file"), document.get("line"), document.get("column"))
    return ApiProblem(
        document["title"],
        code=str(document.get("code", "error")),
        status=status,
        hint=_text_or_none(document.get("hint")),
        place=":".join(str(part) for part in parts if part is not None),
        key=_text_or_none(document.get("key")),
        raw=document,
    )


def _answer(status: int, body: bytes) -> Json:
    if status >= 300:
        raise problem(status, body)
    if not body:
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadAnswer("wirtd's answer is not JSON") from None
    if not isinstance(document, dict):
        raise BadAnswer("wirtd's answer is not a JSON object")
    return document


def _fields(request: CreateRequest) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(request)


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
