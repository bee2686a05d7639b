"""The small HTTP client: the same answer however it arrives, and an error rather than a wrong answer."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wirt.client import http
from wirt.client.errors import BadAnswer, DaemonUnreachable, TimedOut

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-A: 1\r\nX-A: 2\r\n\r\nhello world"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;name=value\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
)
Serve = Callable[..., str]


@pytest.fixture
def serve(home: Path) -> Iterator[Serve]:
    """Starts a server that sends ``pieces`` to whoever connects; the path of its socket."""
    listeners: list[socket.socket] = []

    def start(*pieces: bytes, hang: bool = False, read: bool = True) -> str:
        path = str(home / f"{len(listeners)}.sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        listeners.append(listener)

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                if read:
                    connection.recv(65536)
                for piece in pieces:
                    try:
                        connection.sendall(piece)
                    except OSError:
                        return
                    time.sleep(0.0005)
                while hang and connection.recv(1024):
                    pass

        threading.Thread(target=answer, daemon=True).start()
        return path

    yield start
    for listener in listeners:
        listener.close()


def ask(path: str, timeout_s: float = 5.0) -> http.Response:
    return http.request(path, "GET", "/v1/info", timeout_s=timeout_s)


@pytest.mark.parametrize("answer", [PLAIN, CHUNKED], ids=["length", "chunks"])
def test_an_answer_that_comes_byte_by_byte_is_the_same_answer(serve: Serve, answer: bytes) -> None:
    response = ask(serve(*(answer[index : index + 1] for index in range(len(answer)))))
    assert (response.status, response.body) == (200, b"hello world")


def test_header_names_are_lower_case_and_repeated_values_are_joined(serve: Serve) -> None:
    assert ask(serve(PLAIN)).headers == {"content-length": "11", "x-a": "1, 2"}


def test_an_interim_answer_is_passed_over(serve: Serve) -> None:
    assert ask(serve(b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN)).body == b"hello world"


def test_no_content_has_no_body_and_needs_no_length(serve: Serve) -> None:
    response = ask(serve(b"HTTP/1.1 204 No Content\r\n\r\n", hang=True))
    assert (response.status, response.body) == (204, b"")


def test_what_follows_the_body_is_not_part_of_it(serve: Serve) -> None:
    assert ask(serve(PLAIN + b"more")).body == b"hello world"


@pytest.mark.parametrize("answer", [PLAIN, CHUNKED], ids=["length", "chunks"])
def test_an_answer_cut_off_anywhere_is_an_error_and_never_a_shorter_answer(serve: Serve, answer: bytes) -> None:
    for end in range(len(answer)):
        with pytest.raises(BadAnswer):
            ask(serve(answer[:end]))


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 20\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 \xb2\xb2\xb2 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + PLAIN,
        OK + b"\r\nbody of unknown length",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: +5\r\n\r\nhello",
        OK + b"Content-Length: 5, 5\r\n\r\nhello",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        OK + b"Content-Length: 99999999999999999999\r\n\r\n",
        OK + b"Content-Length: 999999999\r\n\r\n",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello!!0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3ffffff\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 70000,
        OK + b"Content-Length : 5\r\n\r\nhello",
        OK + b"A: 1\r\n folded\r\nContent-Length: 0\r\n\r\n",
        OK + b"A: 1\nContent-Length: 0\r\n\r\n",
        OK + b"A: \x00\r\nContent-Length: 0\r\n\r\n",
        OK + b"A: " + b"a" * 70000 + b"\r\nContent-Length: 0\r\n\r\n",
        OK + b"A: a\r\n" * 200 + b"Content-Length: 0\r\n\r\n",
        b"\x00" * 70000,
    ],
    ids=range(28),
)
def test_what_is_not_strict_http_is_refused(serve: Serve, answer: bytes) -> None:
    with pytest.raises(BadAnswer):
        ask(serve(answer))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(junk=st.binary(max_size=200), at=st.integers(min_value=0, max_value=len(CHUNKED)))
def test_garbage_anywhere_raises_only_what_is_declared(serve: Serve, junk: bytes, at: int) -> None:
    with suppress(BadAnswer):
        ask(serve(CHUNKED[:at] + junk + CHUNKED[at:]))


def test_a_server_that_never_ends_its_headers_is_left_at_the_deadline(serve: Serve) -> None:
    begin = time.monotonic()
    with pytest.raises(TimedOut):
        ask(serve(b"HTTP/1.1 200 OK\r\nX: ", hang=True), timeout_s=0.2)
    assert time.monotonic() - begin < 2


def test_the_deadline_is_for_all_of_the_answer_and_not_for_each_piece(serve: Serve) -> None:
    drip = [b"HTTP/1.1 200 OK\r\nX: "] + [b"x"] * 5000
    begin = time.monotonic()
    with pytest.raises(TimedOut):
        ask(serve(*drip), timeout_s=0.3)
    assert time.monotonic() - begin < 2


def test_a_server_that_refuses_before_it_has_read_all_is_still_heard(serve: Serve) -> None:
    path = serve(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}", read=False)
    try:
        response = http.request(path, "POST", "/v1/domains", body=b"x" * 8_000_000, timeout_s=5)
        assert response.status == 413
    except BadAnswer as error:  # The kernel may throw away what was not read when the other side closes.
        assert "closed" in error.message


def test_nobody_there_is_unreachable_so_that_a_daemon_may_be_started(home: Path) -> None:
    with pytest.raises(DaemonUnreachable):
        ask(str(home / "none.sock"))
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(home / "stale.sock"))
    stale.close()
    with pytest.raises(DaemonUnreachable):
        ask(str(home / "stale.sock"))


def test_a_home_whose_path_is_too_long_for_a_socket_is_reached_all_the_same(home: Path) -> None:
    deep = home.joinpath(*["x" * 60] * 3)
    deep.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        directory = os.open(deep, os.O_PATH)
        server.bind(f"/proc/self/fd/{directory}/s.sock")
        os.close(directory)
        server.listen()
        http.connect(str(deep / "s.sock"), 1.0).close()
        server.accept()[0].close()


@given(st.text(max_size=20))
def test_a_quoted_name_is_one_segment_and_can_be_read_back(text: str) -> None:
    from urllib.parse import unquote

    try:
        quoted = http.quote(text)
    except UnicodeEncodeError:
        assert any("\ud800" <= char <= "\udfff" for char in text)
        return
    assert unquote(quoted) == text
    assert not set(quoted) & set("/?#% \r\n") - {"%"}
