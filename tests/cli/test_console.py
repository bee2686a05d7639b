"""The console, at a real pseudo-terminal and through pipes, against a real websocket server."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, unix_serve

from . import samples
from .conftest import Run

Handler = Callable[[ServerConnection], None]
BOOT = b"\x1b[32mLinux\x1b[0m boots\r\n"


class Websockets:
    """``handler`` serves each connection; ``paths`` are those asked for. Names with ``no`` are not there."""

    def __init__(self, path: str) -> None:
        self.handler: Handler = lambda connection: None
        self.paths: list[str] = []
        self.received = bytearray()
        self._server: Server = unix_serve(
            lambda connection: self.handler(connection), path, process_request=self._asked
        )
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()

    def echo(self, connection: ServerConnection) -> None:
        """Prints a boot message, then what is typed, in upper case; ends at ``q``."""
        connection.send(BOOT)
        for message in connection:
            assert isinstance(message, bytes)
            self.received += message
            connection.send(message.upper())
            if b"q" in message:
                return

    def _asked(self, connection: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" in request.headers:
            self.paths.append(request.path)
            return None
        name = request.path.rpartition("/")[2]
        if name == "no":
            return _reply(404, {"title": "there is no domain no", "code": "not-found", "status": 404})
        return _reply(200, samples.detail(samples.domain(name, 1)))


def _reply(status: int, document: object) -> Response:
    body = json.dumps(document).encode()
    return Response(status, "X", Headers({"Content-Length": str(len(body))}), body)


@pytest.fixture
def sockets(home: Path) -> Iterator[Websockets]:
    server = Websockets(str(home / "run" / "wirtd.sock"))
    yield server
    server.close()


class Terminal:
    """A command at a pseudo-terminal of its own."""

    def __init__(self, *words: str) -> None:
        self.keyboard, self._slave = pty.openpty()
        self.before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wirt.cli.main", *words],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
        )
        self.screen = b""

    def until(self, text: bytes, timeout_s: float = 10) -> None:
        deadline = time.monotonic() + timeout_s
        while text not in self.screen:
            ready, _, _ = select.select([self.keyboard], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{text!r} not in {self.screen!r}"
            self.screen += os.read(self.keyboard, 65536)

    def type(self, data: bytes) -> None:
        os.write(self.keyboard, data)

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self._slave)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def is_as_before(self) -> bool:
        return termios.tcgetattr(self._slave) == self.before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.keyboard)
        os.close(self._slave)


@pytest.fixture
def terminal(sockets: Websockets) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*words: str) -> Terminal:
        opened.append(Terminal(*words))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


Start = Callable[..., Terminal]


def test_ctrl_bracket_leaves_and_the_terminal_is_as_before(sockets: Websockets, terminal: Start) -> None:
    sockets.handler = sockets.echo
    at = terminal("console", "web")
    at.until(BOOT)
    assert at.is_raw()
    at.type(b"ls\x03\x1b[A")
    at.until(b"LS\x03\x1b[A")
    at.type(b"x\x1dnever sent")
    at.until(b"Left web's console.")
    assert at.process.wait(10) == 0
    assert at.is_as_before()
    assert bytes(sockets.received) == b"ls\x03\x1b[Ax"
    assert sockets.paths == ["/v1/domains/web/console?offset=0"]


def test_another_key_can_be_chosen_to_leave(sockets: Websockets, terminal: Start) -> None:
    sockets.handler = sockets.echo
    at = terminal("console", "-e", "^O", "web")
    at.until(BOOT)
    at.type(b"\x1d\x0f")
    assert at.process.wait(10) == 0
    assert bytes(sockets.received) == b"\x1d"


def test_the_end_of_the_domain_ends_the_console(sockets: Websockets, terminal: Start) -> None:
    sockets.handler = sockets.echo
    at = terminal("console", "web")
    at.until(BOOT)
    at.type(b"q")
    at.until(b"web has ended.")
    assert at.process.wait(10) == 0
    assert at.is_as_before()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(sockets: Websockets, terminal: Start, number: signal.Signals) -> None:
    sockets.handler = sockets.echo
    at = terminal("console", "web")
    at.until(BOOT)
    assert at.is_raw()
    at.process.send_signal(number)
    assert at.process.wait(10) == 128 + number
    assert at.is_as_before()


def test_a_daemon_that_dies_gives_the_terminal_back_and_says_so(sockets: Websockets, terminal: Start) -> None:
    def cut(connection: ServerConnection) -> None:
        connection.send(BOOT)
        connection.recv()
        connection.socket.close()

    sockets.handler = cut
    at = terminal("console", "web")
    at.until(BOOT)
    at.type(b"x")
    at.until(b"wirt: the console was cut off")
    assert at.process.wait(10) == 1
    assert at.is_as_before()


def test_through_pipes_it_forwards_both_ways_until_the_end(sockets: Websockets, wirt_process: Run) -> None:
    sockets.handler = sockets.echo
    result = wirt_process("console", "web", stdin="a\x1dq")
    assert (result.code, result.out, result.err) == (0, BOOT.decode().replace("\r\n", "\n") + "A\x1dQ", "")


def test_no_history_starts_at_the_end(sockets: Websockets, wirt_process: Run) -> None:
    assert wirt_process("console", "--no-history", "web").code == 0
    assert sockets.paths == ["/v1/domains/web/console?offset=-1"]


def test_no_follow_prints_what_is_kept_and_ends_whether_the_server_closes_or_not(
    sockets: Websockets, wirt_process: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets.handler = sockets.echo  # Does not close: a quiet while is taken for the end.
    begin = time.monotonic()
    assert wirt_process("console", "--no-follow", "web").out.endswith("boots\n")
    assert time.monotonic() - begin < 5
    sockets.handler = lambda connection: connection.send(BOOT)
    assert wirt_process("console", "--no-follow", "web").out.endswith("boots\n")
    assert sockets.paths[-1] == "/v1/domains/web/console?offset=0&follow=0"


def test_no_follow_ends_although_the_domain_never_stops_talking(sockets: Websockets, wirt_process: Run) -> None:
    def talk(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                connection.send(b"tick\n")
                time.sleep(0.1)

    sockets.handler = talk
    result = wirt_process("console", "--no-follow", "web")
    assert (result.code, result.out[:5]) == (0, "tick\n")


def test_a_domain_that_is_not_there_is_an_error(sockets: Websockets, wirt_process: Run) -> None:
    result = wirt_process("console", "no")
    assert (result.code, result.err) == (1, "wirt: there is no domain no\n")


def test_a_console_that_is_refused_says_why(sockets: Websockets, wirt_process: Run) -> None:
    sockets.handler = lambda connection: connection.close(4000, "domain web is off")
    result = wirt_process("console", "web")
    assert (result.code, result.err) == (1, "wirt: domain web is off\n")


def test_a_reader_that_leaves_ends_the_console_in_silence(sockets: Websockets) -> None:
    def flood(connection: ServerConnection) -> None:
        for _ in range(1000):
            connection.send(b"x" * 10000)

    sockets.handler = flood
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "wirt.cli.main", "console", "web"],
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert os.read(reader, 100)
    os.close(reader)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (141, b"")


EVENTS = [
    {"seq": 5, "time": 0.0, "kind": "domain", "domain": "web", "uuid": "u", "data": {"state": "running"}},
    {"seq": 6, "time": 1.0, "kind": "host", "domain": None, "uuid": None, "data": {"x": "\x1b[2J"}},
]


def test_events_are_lines_and_with_json_documents(sockets: Websockets, wirt_process: Run) -> None:
    def tell(connection: ServerConnection) -> None:
        for event in EVENTS:
            connection.send(json.dumps(event))

    sockets.handler = tell
    result = wirt_process("events", "--after", "4")
    assert result.out == "5 00:00:00 domain web: state=running\n6 00:00:01 host: x=\\x1b[2J\n"
    assert (result.code, result.err.splitlines()[0]) == (1, "wirt: wirtd closed the stream of events")
    lines = wirt_process("events", "-o", "json").out.splitlines()
    assert [json.loads(line) for line in lines] == EVENTS
    assert sockets.paths == ["/v1/events?after=4", "/v1/events"]
