"""A bare QEMU with a tiny guest in it, for tests: starts it, reads its console, talks to it, always ends it."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

READY = re.compile(r"^wirt-tiny ready (.*)\n", re.MULTILINE)
TICK = re.compile(r"^tick (\d+) mono=(\d+\.\d+)$", re.MULTILINE)
_ANSWER_S = 30.0


def pairs(text: str) -> dict[str, str]:
    """`a=1 b=2` as a dictionary."""
    return dict(word.split("=", 1) for word in text.split())


def free_port() -> int:
    """A port that is free for TCP and UDP alike, at the moment of asking."""
    with socket.socket() as stream:
        stream.bind(("127.0.0.1", 0))
        return int(stream.getsockname()[1])


class Guest:
    """A running guest; `network` is the QEMU device that port 7 is reached through, for instance `e1000`."""

    def __init__(self, folder: Path, network: str, arguments: Sequence[str | Path]) -> None:
        self.port = free_port()
        self._qmp_path = folder / f"qmp-{self.port}"
        forward = ",".join(f"hostfwd={kind}:127.0.0.1:{self.port}-:7" for kind in ("tcp", "udp"))
        self._command = [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg"),
            *("-serial", "stdio", "-qmp", f"unix:{self._qmp_path},server=on,wait=off"),
            *("-netdev", f"user,id=net,{forward}", "-device", f"{network},netdev=net"),
            *map(str, arguments),
        ]
        self._output = b""
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self.process.stdout is not None
        # Drained always: a guest whose console is not read stands still.
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self.process.kill()
        self.process.wait(timeout=10)
        self._reader.join(timeout=10)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def _read(self, output: IO[bytes]) -> None:
        while data := output.read1(65536):  # type: ignore[attr-defined]
            self._output += data

    @property
    def console(self) -> str:
        return self._output.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, found: Callable[[], object], within_s: float) -> None:
        """Wait until `found` says so; the console is in the failure's text."""
        deadline = time.monotonic() + within_s
        while not found():
            assert time.monotonic() < deadline, f"not within {within_s} s; console:\n{self.console[-3000:]}"
            assert self.process.poll() is None, f"QEMU ended; console:\n{self.console[-3000:]}"
            time.sleep(0.05)

    def ready(self, within_s: float) -> dict[str, str]:
        """The fields of the `ready` line."""
        self.wait_for(lambda: READY.search(self.console), within_s)
        match = READY.search(self.console)
        assert match is not None
        return pairs(match[1])

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=_ANSWER_S)

    def datagram(self, data: bytes) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(_ANSWER_S)
            sock.sendto(data, ("127.0.0.1", self.port))
            return sock.recv(65536)

    def ask(self, command: str) -> str:
        """The answer to a command, over TCP."""
        with self.connect() as sock, sock.makefile("rb") as lines:
            sock.sendall(f"wirt {command}\n".encode())
            return lines.readline().decode().strip()

    def ok(self, command: str) -> dict[str, str]:
        answer = self.ask(command)
        assert not answer.startswith("error"), answer
        return pairs(answer)

    def qmp(self) -> Qmp:
        return self._stack.enter_context(contextlib.closing(Qmp(self._qmp_path)))


class Qmp:
    """Just enough of QMP to press a button and see an event."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        self._lines.readline()
        self.execute("qmp_capabilities")

    def execute(self, command: str) -> None:
        self._socket.sendall(json.dumps({"execute": command}).encode() + b"\n")
        while "return" not in (message := self._next()):
            assert "error" not in message, message

    def event(self, name: str) -> dict[str, Any]:
        """The next event of that name, within a minute."""
        while (message := self._next()).get("event") != name:
            pass
        return message

    def _next(self) -> dict[str, Any]:
        message = json.loads(self._lines.readline())
        assert isinstance(message, dict)
        return message

    def close(self) -> None:
        self._lines.close()
        self._socket.close()
