"""HTTP/1.1 over a unix socket: one request a connection, strict and bounded.

Written on plain ``socket`` because the standard library's ``http.client`` costs twice the start of the whole
interpreter to import (24 ms against 12; it brings ``email`` and ``ssl`` along), a third of what ``wirt list``
may take in all. It speaks what wirtd speaks and refuses everything else: HTTP/1.1 with a ``Content-Length`` or
chunks (RFC 9112). An answer that ends early, contradicts itself or outgrows a bound is :class:`BadAnswer`, never
a shorter answer.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

from wirt.client.errors import BadAnswer, ClientError, DaemonUnreachable, Disconnected, TimedOut

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_HEADERS = 100
MAX_INTERIM = 8
_RECEIVE_BYTES = 64 * 1024
_DIGITS = frozenset("0123456789")
_HEX = frozenset("0123456789abcdefABCDEF")
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_UNRESERVED = frozenset(b"-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_MAX_SOCKET_PATH_BYTES = 107


class Response:
    """``headers`` by lower-case name."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def quote(text: str) -> str:
    """``text`` for use in one segment of a path or in a query (RFC 3986, 2.3). ``urllib.parse`` costs 4 ms."""
    octets = text.encode("utf-8", "surrogateescape")
    return "".join(chr(octet) if octet in _UNRESERVED else f"%{octet:02X}" for octet in octets)


def request(path: str, method: str, target: str, *, body: bytes | None = None, timeout_s: float) -> Response:
    """Sends one request to the server at the unix socket ``path`` and reads all of its answer.

    ``timeout_s`` is for everything together. Raises :class:`DaemonUnreachable` only if nothing was sent, so that
    a caller may start the server and try again; :class:`TimedOut`; :class:`BadAnswer`.
    """
    deadline = time.monotonic() + timeout_s
    connection = connect(path, timeout_s)
    try:
        _send(connection, _head(method, target, body) + (body or b""))
        return _Reader(connection, deadline).response()
    except TimeoutError:
        raise TimedOut(
            f"wirtd did not answer within {timeout_s:g} s ({method} {target})",
            hint="wirt jobs shows what it is doing",
        ) from None
    except ConnectionError as error:
        raise Disconnected(f"wirtd closed the connection before it had answered ({error.strerror})") from None
    finally:
        connection.close()


def connect(path: str, timeout_s: float) -> socket.socket:
    """A connection to the unix socket ``path``; :class:`DaemonUnreachable` if nobody listens there."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        _reach(connection, path)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        connection.close()
        raise DaemonUnreachable(f"wirtd does not answer at {path}") from None
    except PermissionError:
        connection.close()
        raise ClientError(
            f"you may not talk to the wirtd at {path}",
            hint="become its owner (sudo), or set WIRT_HOME=DIR for a host of your own",
        ) from None
    except OSError as error:
        connection.close()
        raise ClientError(f"can't connect to wirtd at {path}: {error.strerror or error}") from None
    return connection


def _reach(connection: socket.socket, path: str) -> None:
    """The kernel takes 107 bytes as a socket's path (unix(7)); a longer one is reached through its directory."""
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES:
        connection.connect(path)
        return
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    finally:
        os.close(directory)


def _head(method: str, target: str, body: bytes | None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Accept: application/json", "Connection: close"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    elif method != "GET":
        lines.append("Content-Length: 0")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _send(connection: socket.socket, data: bytes) -> None:
    # A server may refuse a request before it has read all of it; its answer says why.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)


class _Reader:
    """Reads one answer. Whatever TCP-like pieces it arrives in, the result is the same."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._buffer = bytearray()

    def response(self) -> Response:
        for _ in range(MAX_INTERIM):
            status, headers = self._head()
            if status >= 200:
                return Response(status, headers, self._body(status, headers))
        raise BadAnswer("wirtd sent interim answers without end")

    def _head(self) -> tuple[int, dict[str, str]]:
        lines = self._until(b"\r\n\r\n", MAX_HEAD_BYTES).decode("latin-1").split("\r\n")
        status = _status(lines[0])
        if len(lines) - 1 > MAX_HEADERS:
            raise BadAnswer(f"wirtd sent more than {MAX_HEADERS} headers")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, value = _header(line)
            if name in headers and name in ("content-length", "transfer-encoding"):
                raise BadAnswer(f"wirtd sent the header {name} twice")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return status, headers

    def _body(self, status: int, headers: dict[str, str]) -> bytes:
        if status in (204, 304):
            return b""
        coding = headers.get("transfer-encoding")
        length = headers.get("content-length")
        if coding is not None:
            if length is not None or coding.lower() != "chunked":
                raise BadAnswer("wirtd sent a body of unclear length")
            return self._chunks()
        if length is None:
            raise BadAnswer("wirtd sent a body without its length")
        return self._exactly(_size(length, _DIGITS, 10))

    def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            line = self._until(b"\r\n", MAX_HEAD_BYTES).decode("latin-1")
            size = _size(line.partition(";")[0].rstrip(" \t"), _HEX, 16)
            if size == 0:
                break
            if len(body) + size > MAX_BODY_BYTES:
                raise BadAnswer("wirtd sent a body that is too large")
            body += self._exactly(size)
            if self._exactly(2) != b"\r\n":
                raise BadAnswer("wirtd sent a chunk that is longer than it says")
        for _ in range(MAX_HEADERS):
            if not self._until(b"\r\n", MAX_HEAD_BYTES):
                return bytes(body)
        raise BadAnswer("wirtd sent trailers without end")

    def _until(self, mark: bytes, limit: int) -> bytes:
        """What comes before ``mark``, which is taken away too."""
        start = 0
        while (end := self._buffer.find(mark, start)) < 0:
            if len(self._buffer) > limit:
                raise BadAnswer(f"wirtd sent more than {limit} bytes where a line or headers should be")
            start = max(0, len(self._buffer) - len(mark) + 1)
            self._receive()
        if end > limit:
            raise BadAnswer(f"wirtd sent more than {limit} bytes where a line or headers should be")
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def _receive(self) -> None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
        piece = self._connection.recv(_RECEIVE_BYTES)
        if not piece:
            raise Disconnected("wirtd closed the connection in the middle of its answer")
        self._buffer += piece


def _status(line: str) -> int:
    version, _, rest = line.partition(" ")
    digits = rest[:3]
    if version != "HTTP/1.1" or len(digits) != 3 or not _DIGITS.issuperset(digits) or rest[3:4] not in ("", " "):
        raise BadAnswer("what answered at wirtd's socket does not speak HTTP/1.1")
    status = int(digits)
    if not 100 <= status <= 599 or status == 101:
        raise BadAnswer(f"wirtd answered with the status {status}, which means nothing here")
    return status


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name or not _TOKEN.issuperset(name):
        raise BadAnswer("wirtd sent a malformed header")
    value = value.strip(" \t")
    if any((char < " " and char != "\t") or char == "\x7f" for char in value):
        raise BadAnswer("wirtd sent a header with control characters")
    return name.lower(), value


def _size(text: str, digits: frozenset[str], base: int) -> int:
    if not text or len(text) > 16 or not digits.issuperset(text):
        raise BadAnswer("wirtd sent a length that is not a number")
    size = int(text, base)
    if size > MAX_BODY_BYTES:
        raise BadAnswer("wirtd sent a body that is too large")
    return size
