"""Whatever is sent to its socket, wirtd answers it, or hangs up on it, and serves everyone else."""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from .api import Answer, head, opened, raw, request
from .guests import fake
from .host import Host

JSON = {"Content-Type": "application/json"}
GROWTH = 60 * 2**20


@pytest.fixture
def host(shared_fake_host: Host) -> Iterator[Host]:
    before = shared_fake_host.pid, len(shared_fake_host.log.read_text())
    yield shared_fake_host
    shared_fake_host.tidy()
    assert shared_fake_host.pid == before[0], "it must have lived through all this"
    log = shared_fake_host.log.read_text()[before[1] :]
    assert "Traceback" not in log, log[-3000:]


def post(host: Host, target: str, data: bytes) -> Answer:
    return raw(host.socket, head("POST", target, {**JSON, "Content-Length": len(data)}) + data)


CREATE = {"text": fake("web"), "file": "web.cfg", "cwd": "/"}


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/nosuch", 404),
        ("GET", "/v1/domains/nosuch", 404),
        ("GET", "/v1/domains/%00%ff%2e%2e", 404),
        ("GET", "/v1/domains/" + "9" * 5000, 404),
        ("GET", "/v1/domains/nosuch/wait?until=off", 404),
        ("GET", "/v1/domains/nosuch/wait?until=flying", 422),
        ("GET", "/v1/domains/nosuch/wait?until=off&timeout_s=nan", 422),
        ("GET", "/v1/domains/nosuch/wait?until=off&timeout_s=-1", 422),
        ("GET", "/v1/domains?all=perhaps", 422),
        ("GET", "/v1/jobs/nosuch", 404),
        ("GET", "/v1/jobs/nosuch?wait_s=1e999", 422),
        ("GET", "/v1/images/nosuch", 404),
        ("POST", "/v1/images/nosuch", 404),
        ("POST", "/v1/jobs/nosuch/cancel", 404),
        ("DELETE", "/v1/domains/nosuch", 404),
        ("DELETE", "/v1/domains/0", 422),
        ("POST", "/v1/domains/Domain-0/destroy", 422),
        ("PUT", "/v1/domains", 405),
        ("BREW", "/v1/domains", 405),
        ("DELETE", "/v1/info", 405),
        ("GET", "/v1/domains/a/b/c", 404),
        ("GET", "/v1/events", 404),
    ],
)
def test_what_can_not_be_is_answered_with_a_problem(host: Host, method: str, target: str, status: int) -> None:
    answer = request(host.socket, method, target)
    assert answer.status == status, answer
    assert answer.is_problem, answer
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"text": 5, "file": "f", "cwd": "/"}',
        b'{"text": "x"}',
        json.dumps({**CREATE, "cwd": "relative"}).encode(),
        json.dumps({**CREATE, "cwd": "/\0", "text": fake("x", 'ramdisk = "here"')}).encode(),
        json.dumps({**CREATE, "overrides": "name=x"}).encode(),
        json.dumps({**CREATE, "overrides": ["", "=", "\0=\0"]}).encode(),
        json.dumps({**CREATE, "text": "name = '\ud800'"}).encode(),
        json.dumps({**CREATE, "text": fake("caf\udce9")}).encode(),
        json.dumps({**CREATE, "text": fake("x") + "# \udce9\nkernel = '/\udce9'"}).encode(),
        json.dumps({**CREATE, "file": "\ud800", "text": "name ="}).encode(),
        json.dumps({**CREATE, "text": "[" * 100_000}).encode(),
        json.dumps({**CREATE, "text": fake("x", "memory = " + "9" * 5000)}).encode(),
        json.dumps({**CREATE, "text": fake("x", 'kernel = "/\\0"')}).encode(),
    ],
    ids=range(21),
)
@pytest.mark.parametrize("target", ["/v1/domains", "/v1/plan"])
def test_a_body_that_is_none_is_answered_with_a_problem(host: Host, target: str, body: bytes) -> None:
    answer = post(host, target, body)
    assert 400 <= answer.status < 500, answer
    assert answer.is_problem, answer
    assert host.names() == []


def test_a_new_name_that_is_none_is_refused(host: Host) -> None:
    assert request(host.socket, "POST", "/v1/domains?wait=1", CREATE).document["state"] == "done"
    for name in ("caf\udce9", "\ud800", "a\0b", "a\nb", "x" * 100_000):
        answer = request(host.socket, "POST", "/v1/domains/web/rename", {"name": name})
        assert (answer.status, answer.is_problem) == (422, True), answer
    assert host.names() == ["web"]


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /v1/domains\r\n\r\n",
        b"GET /v1/domains HTTP/1.1\r\n: nameless\r\n\r\n",
        b"GET /v1/domains HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/domains HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/domains HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        os.urandom(100_000),
    ],
    ids=range(9),
)
def test_what_is_no_http_is_refused(host: Host, data: bytes) -> None:
    with closing(opened(host.socket)) as client:
        with suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        received = b""
        with suppress(ConnectionResetError):
            while piece := client.recv(65536):
                received += piece
    assert received == b"" or received.startswith(b"HTTP/1.1 4"), received[:200]
    assert host.names() == []


def test_clients_that_say_nothing_keep_nobody_waiting(host: Host) -> None:
    silent = [opened(host.socket) for _ in range(100)]
    half = opened(host.socket)
    half.sendall(b"POST /v1/domains HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    try:
        assert host.names() == []
    finally:
        for client in (*silent, half):
            client.close()


def upgraded(host: Host, target: str) -> socket.socket:
    """A websocket (RFC 6455, 4.1) whose handshake is done."""
    client = opened(host.socket)
    key = base64.b64encode(os.urandom(16)).decode()
    extra = {"Upgrade": "websocket", "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"}
    client.sendall(head("GET", target, extra).replace(b"Connection: close", b"Connection: Upgrade"))
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(1)
    assert received.startswith(b"HTTP/1.1 101"), received
    return client


def memory_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_listeners_that_never_read_cost_little_memory_and_delay_nobody(host: Host) -> None:
    """Each is to be told a megabyte: if it were kept for all of them, that would be 200 MB."""
    deaf = [upgraded(host, "/v1/events?after=0") for _ in range(200)]
    before = memory_of(host.pid)
    try:
        for _ in range(100):
            assert request(host.socket, "POST", "/v1/domains?wait=1", CREATE).document["state"] == "done"
            assert request(host.socket, "POST", "/v1/domains/web/destroy?wait=1").document["state"] == "done"
        assert memory_of(host.pid) - before < GROWTH
    finally:
        for client in deaf:
            client.close()


@pytest.mark.parametrize("target", ["/v1/events?after=0", "/v1/domains/web/console"])
def test_frames_that_are_none_end_their_own_connection_only(host: Host, target: str) -> None:
    assert request(host.socket, "POST", "/v1/domains?wait=1", CREATE).document["state"] == "done"
    for garbage in (os.urandom(5000), b"\x81\x7f" + b"\xff" * 8, b"\xff" * 100):
        with closing(upgraded(host, target)) as client, suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(garbage)
            end = time.monotonic() + 30
            while client.recv(65536):
                assert time.monotonic() < end, "it must have hung up"
    assert host.names() == ["web"]


def test_a_console_that_is_not_there_is_told(host: Host) -> None:
    assert "there is no domain nosuch" in host.fails("console", "nosuch")
