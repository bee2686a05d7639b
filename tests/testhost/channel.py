"""The line to the agent in the test host: commands, and files as tar streams. The protocol is told in
``guest/agent.py``."""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .commands import Failed

GRACE_S = 120.0
"""How much later than its command's own deadline an answer may come before the whole test host is given up."""
CHUNK = 256 * 1024

Listener = Callable[[str, bytes], None]
"""Told ``out`` or ``err`` and what came."""


@dataclass(frozen=True, slots=True)
class Done:
    """``code`` as of :class:`subprocess.Popen`: negative for a signal."""

    code: int
    out: bytes
    err: bytes
    timed_out: bool = False

    @property
    def text(self) -> str:
        return self.out.decode(errors="replace")

    @property
    def said(self) -> str:
        return (self.out + self.err).decode(errors="replace")


class Channel:
    """Many threads may have commands under way at once."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._answers: dict[int, queue.SimpleQueue[tuple[Mapping[str, Any], bytes] | None]] = {}
        self._sending = threading.Lock()
        self._gone = False
        self._reader = threading.Thread(target=self._read, name="testhost", daemon=True)
        self._reader.start()

    def run(
        self,
        words: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_s: float,
        cwd: str = "/",
        environment: Mapping[str, str] | None = None,
        listener: Listener | None = None,
        terminal: tuple[int, int] | None = None,
        number: int | None = None,
    ) -> Done:
        """``Failed`` if the test host itself does not answer. A command whose time is up is killed there, with all
        that it started."""
        request = {
            "run": [str(word) for word in words],
            "cwd": cwd,
            "env": dict(environment or {}),
            "timeout_s": timeout_s,
            "terminal": terminal,
        }
        return self._converse(number or self.number(), request, stdin, timeout_s + GRACE_S, listener)

    def set_clock(self, timeout_s: float) -> None:
        """To ours. Also the proof that the agent answers."""
        self._converse(self.number(), {"clock": time.time()}, b"", timeout_s, None)

    def number(self) -> int:
        return next(self._numbers)

    def type(self, number: int, data: bytes) -> None:
        """Into the terminal of the command ``number``."""
        self._send({"id": number, "type": True}, data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._reader.join(5.0)

    def _converse(
        self, number: int, request: dict[str, Any], data: bytes, timeout_s: float, listener: Listener | None
    ) -> Done:
        answers = self._answers[number] = queue.SimpleQueue()
        kept: dict[str, list[bytes]] = {"out": [], "err": []}
        deadline = time.monotonic() + timeout_s
        try:
            self._send({"id": number, **request}, data)
            while True:
                header, body = self._next(answers, deadline, timeout_s)
                if "code" in header:
                    out, err = b"".join(kept["out"]), b"".join(kept["err"])
                    return Done(header["code"], out, err, header["timed_out"])
                kept[header["stream"]].append(body)
                if listener is not None:
                    listener(header["stream"], body)
        finally:
            del self._answers[number]

    def _next(
        self, answers: queue.SimpleQueue[tuple[Mapping[str, Any], bytes] | None], deadline: float, timeout_s: float
    ) -> tuple[Mapping[str, Any], bytes]:
        try:
            answer = answers.get(timeout=max(deadline - time.monotonic(), 0.01)) if not self._gone else None
        except queue.Empty:
            raise Failed(f"the test host did not answer within {timeout_s:g} s") from None
        if answer is None:
            raise Failed("the test host is gone")
        return answer

    def _send(self, header: dict[str, Any], data: bytes) -> None:
        try:
            with self._sending:
                self._connection.sendall(json.dumps({**header, "bytes": len(data)}).encode() + b"\n")
                for start in range(0, len(data), CHUNK):
                    self._connection.sendall(data[start : start + CHUNK])
        except OSError as error:
            raise Failed(f"the test host is gone: {error}") from None

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._connection.makefile("rb") as stream:
            while line := stream.readline():
                header = json.loads(line)
                body = stream.read(header.get("bytes", 0))
                if (waiting := self._answers.get(header["id"])) is not None:
                    waiting.put((header, body))
        self._gone = True
        for waiting in list(self._answers.values()):
            waiting.put(None)
