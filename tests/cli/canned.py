"""A wirtd of cardboard: answers what a test tells it to, on a unix socket, and notes what it was asked."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    body: Any


Answer = tuple[int, object]
Route = Answer | Callable[[Request], Answer]


HANG_UP: Answer = (0, None)
"""Closes the connection instead of answering."""


def problem(status: int, title: str, **fields: object) -> Answer:
    return status, {"type": "about:blank", "code": "error", "title": title, "status": status, **fields}


@dataclass
class Canned:
    """``routes`` by ``METHOD TARGET``, with the query or, failing that, without it."""

    path: str
    routes: dict[str, Route] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(32)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def asked(self) -> list[str]:
        return [f"{request.method} {request.target}" for request in self.requests]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            line = stream.readline().decode()
            if not line:
                return
            headers: dict[str, str] = {}
            while (header := stream.readline().decode().strip()) != "":
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            body = stream.read(int(headers.get("content-length", "0")))
            method, target, _ = line.split(" ")
            request = Request(method, target, json.loads(body) if body else None)
            self.requests.append(request)
            try:
                connection.sendall(self._answer(request))
            except OSError:
                return  # A test's client may have gone.

    def _answer(self, request: Request) -> bytes:
        key = f"{request.method} {request.target}"
        route = self.routes.get(key) or self.routes.get(key.partition("?")[0])
        if route is None:
            route = problem(404, f"no such route: {key}")
        status, document = route(request) if callable(route) else route
        if status == 0:
            return b""
        if status == 204:
            return b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
        data = json.dumps(document).encode()
        kind = "application/problem+json" if status >= 400 else "application/json"
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n\r\n"
        return head.encode() + data
