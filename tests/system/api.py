"""The API as any program may talk to it: raw HTTP on the daemon's socket."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ANSWER_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def is_problem(self) -> bool:
        """An error as the API promises it (RFC 9457), which says what is wrong."""
        if self.headers.get("content-type") != "application/problem+json":
            return False
        document = self.document
        return bool(document["title"]) and document["status"] == self.status and bool(document["code"])


def request(path: Path, method: str, target: str, body: object = None) -> Answer:
    """``path`` is the daemon's socket."""
    data = b"" if body is None else json.dumps(body).encode()
    return raw(
        path, head(method, target, {"Content-Type": "application/json", "Content-Length": len(data)}) + data
    )


def head(method: str, target: str, headers: Mapping[str, object]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def opened(path: Path) -> socket.socket:
    """A connection, through the directory's descriptor: a socket's name may have 107 bytes only (unix(7))."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(ANSWER_S)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        client.connect(f"/proc/self/fd/{directory}/{path.name}")
    except BaseException:
        client.close()
        raise
    finally:
        os.close(directory)
    return client


def raw(path: Path, data: bytes) -> Answer:
    """The answer to ``data``, whatever it is, read to the end of the connection."""
    with closing(opened(path)) as client:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has read all
            client.sendall(data)
        received = b""
        while piece := client.recv(65536):
            received += piece
    top, _, body = received.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]), headers, body)
