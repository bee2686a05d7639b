"""QEMU as a minimal script drives it: what any manager can't be faster than."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.rigs.guests import bare_command
from bench.rigs.processes import wait_gone
from bench.rigs.workshop import Workshop

ANSWER_S = 30.0
_TICK_S = 0.0005


class NoAnswer(Exception):
    """QEMU ended, refused or kept silent."""


class Qmp:
    """Just enough of QMP: a greeting, commands, their answers; events are thrown away."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        if b"QMP" not in self._lines.readline():
            raise NoAnswer("QEMU did not greet")
        self.execute("qmp_capabilities")

    def send(self, command: str) -> None:
        self._connection.sendall(b'{"execute": "%s"}\n' % command.encode())

    def execute(self, command: str) -> None:
        self.send(command)
        self._answer(command)

    def _answer(self, command: str) -> Any:
        while line := self._lines.readline():
            answer: dict[str, Any] = json.loads(line)
            if "error" in answer:
                raise NoAnswer(f"QEMU refused {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise NoAnswer(f"QEMU went away during {command}")

    def command(self, name: str, arguments: dict[str, object], descriptor: int | None = None) -> Any:
        """What it returns. ``descriptor`` goes along with it, as getfd wants it."""
        line = json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n"
        if descriptor is None:
            self._connection.sendall(line)
        else:
            socket.send_fds(self._connection, [line], [descriptor])
        return self._answer(name)

    def close(self) -> None:
        self._lines.close()
        self._connection.close()


class Bare:
    """A QEMU that has answered. ``until_qmp_s`` is from just before its process was made."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path, begin: float) -> None:
        self.process = process
        self.console_log = directory / "console.log"
        self.begin = begin
        self.qmp = Qmp(_connected(process, directory))
        self.until_qmp_s = time.perf_counter() - begin

    def quit_s(self) -> float:
        """Seconds from the command ``quit`` until the process is gone."""
        pidfd = os.pidfd_open(self.process.pid)
        try:
            begin = time.perf_counter()
            self.qmp.send("quit")
            wait_gone(pidfd)
            return time.perf_counter() - begin
        finally:
            os.close(pidfd)


@contextlib.contextmanager
def bare(workshop: Workshop, planned: Sequence[str]) -> Iterator[Bare]:
    """A guest with the command line that wirt ``planned`` for it, stopped before its first instruction. It is
    killed when the block ends."""
    directory = workshop.folder("bare")
    command = bare_command(planned, directory)
    with (directory / "qemu.log").open("wb") as output, contextlib.ExitStack() as stack:
        begin = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        stack.callback(_kill, process)
        guest = Bare(process, directory, begin)
        stack.callback(guest.qmp.close)
        yield guest


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(ANSWER_S)


def _connected(process: subprocess.Popen[bytes], directory: Path) -> socket.socket:
    deadline = time.monotonic() + ANSWER_S
    while True:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(str(directory / "control.sock"))
        except OSError:
            connection.close()
        else:
            return connection
        if process.poll() is not None or time.monotonic() > deadline:
            said = (directory / "qemu.log").read_text(errors="replace").strip()
            raise NoAnswer(f"QEMU does not answer: {said or 'without a word'}")
        time.sleep(_TICK_S)
