"""A command that finds no daemon starts one, once, and says what happened if that can't be done."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.client import launch
from wirt.client.errors import ClientError, DaemonUnreachable
from wirt.wire.home import Home

from .conftest import Run

PYTHON = sys.executable
"""The real one: a test makes ``sys.executable`` the stand-in, which must never run itself."""
SERVES = """\
echo start >> {home}/started
sleep 0.2
{python} - <<'END' &
import socket, time
listener = socket.socket(socket.AF_UNIX)
listener.bind("{home}/run/wirtd.sock")
listener.listen()
listener.settimeout(20)
body = b'{{"domains": [], "revision": 1}}'
while True:
    connection, _ = listener.accept()
    if connection.recv(65536):
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    connection.close()
END
echo $! > {home}/pid
for try in $(seq 200); do [ -S {home}/run/wirtd.sock ] && break; sleep 0.05; done
sleep 0.1
"""


class Interpreter:
    """Stands in for ``python -m wirt.daemon.main --background``."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._home = home
        self._path = home / "python"
        monkeypatch.setattr(sys, "executable", str(self._path))
        monkeypatch.delenv("WIRT_NO_AUTOSTART")

    def does(self, script: str) -> None:
        self._path.write_text("#!/bin/sh\n" + script.format(home=self._home, python=PYTHON))
        self._path.chmod(0o755)

    def end(self) -> None:
        pid = self._home / "pid"
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.fixture
def daemon(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Interpreter]:
    interpreter = Interpreter(home, monkeypatch)
    yield interpreter
    interpreter.end()


def home_of(directory: Path) -> Home:
    return Home(state=str(directory), run=str(directory / "run"))


def test_a_command_starts_the_daemon_that_it_misses(daemon: Interpreter, wirt: Run, home: Path) -> None:
    (home / "run").rmdir()
    daemon.does("mkdir -p {home}/run\n" + SERVES)
    result = wirt("list")
    # On a busy machine it takes long enough to be told of.
    assert (result.code, result.err) in ((0, ""), (0, "wirt: waiting for wirtd to start ...\n"))
    assert wirt("list").code == 0
    assert (home / "started").read_text() == "start\n"


def test_commands_at_the_same_time_start_one(daemon: Interpreter, home: Path) -> None:
    daemon.does(SERVES)
    problems: list[BaseException] = []

    def start() -> None:
        try:
            launch.start_daemon(home_of(home), {}, lambda _: None)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert problems == []
    assert (home / "started").read_text() == "start\n"


def test_a_daemon_that_can_not_start_is_quoted(daemon: Interpreter, wirt: Run) -> None:
    daemon.does("echo 'wirtd: port 80 is taken' >&2; exit 1\n")
    result = wirt("list")
    assert result.code == 1
    assert result.err.startswith("wirt: wirtd can't start: port 80 is taken\n  hint: its log is ")


def test_a_daemon_that_only_says_that_it_serves_is_found_out(daemon: Interpreter, wirt: Run) -> None:
    daemon.does("exit 0\n")
    assert "and does not" in wirt("list").err


def test_a_slow_start_is_explained_and_has_an_end(
    daemon: Interpreter, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.does("exec sleep 5\n")
    monkeypatch.setattr(launch, "PATIENCE_S", 0.05)
    monkeypatch.setattr(launch, "DEADLINE_S", 0.3)
    said: list[str] = []
    begin = time.monotonic()
    with pytest.raises(DaemonUnreachable, match="did not serve within"):
        launch.start_daemon(home_of(home), {}, said.append)
    assert time.monotonic() - begin < 3
    assert said == ["wirt: waiting for wirtd to start ..."]


def test_a_home_that_can_not_be_used_says_so(daemon: Interpreter, home: Path) -> None:
    (home / "file").write_text("")
    with pytest.raises(ClientError, match="can't use"):
        launch.start_daemon(Home(state=str(home), run=str(home / "file" / "run")), {}, lambda _: None)
