"""wirtd's API over its unix socket, with the sending apart from the answer: what happens in between is timed."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

TIMEOUT_S = 60.0


class Refused(Exception):
    """wirtd answered with an error, or a job failed."""


class Request:
    """One request on a connection of its own. Its sending is over when the constructor returns."""

    def __init__(self, path: str, method: str, target: str, body: object = None) -> None:
        self._what = f"{method} {target}"
        self._connection = _UnixConnection(path)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        self._connection.request(method, target, None if body is None else json.dumps(body), headers)

    def answer(self) -> Any:
        """The answer's JSON. ``Refused`` if it is an error."""
        try:
            response = self._connection.getresponse()
            text = response.read()
        finally:
            self._connection.close()
        if response.status >= 300:
            raise Refused(f"{self._what}: {response.status}: {text[:500].decode(errors='replace')}")
        return json.loads(text) if text else None

    def finished(self) -> dict[str, Any]:
        """The answer as a job that is done."""
        job: dict[str, Any] = self.answer()
        if job["state"] != "done":
            raise Refused(f"{self._what}: the job is {job['state']}: {job.get('error')}")
        return job


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)
