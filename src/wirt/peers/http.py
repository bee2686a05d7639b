"""HTTP/1.1 to another daemon over a connection that is there already, one request at a time (RFC 9112; h11)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h11

from wirt.model import errors
from wirt.model.errors import PeerUnreachable, WirtError

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
_RECEIVE_BYTES = 256 * 1024
_CLOSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    problem: bool
    """Whether it is RFC 9457's problem+json."""
    body: bytes


class BadAnswer(Exception):
    """What came is not HTTP, or more than is taken, or stopped in the middle."""


class HungUp(BadAnswer):
    """... for which there may be a reason that the other side can't tell."""


class Connection:
    """``call`` may raise ``OSError`` or :class:`BadAnswer`; then, and when it is cancelled, the connection is of
    no more use."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)

    @property
    def usable(self) -> bool:
        """Whether another request may be tried: the last one ended well, and the other side has not hung up."""
        idle = self._http.our_state is h11.IDLE and self._http.their_state is h11.IDLE
        return idle and not self._reader.at_eof() and not self._writer.is_closing()

    @property
    def transport(self) -> asyncio.WriteTransport:
        return self._writer.transport

    async def call(self, method: str, path: str, body: bytes | None) -> Answer:
        headers = [("Host", "peer"), ("Accept", "application/json")]
        if body is not None:
            headers += [("Content-Type", "application/json")]
        if body is not None or method != "GET":
            headers += [("Content-Length", str(len(body or b"")))]
        try:
            await self._send(h11.Request(method=method, target=path, headers=headers))
            if body:
                await self._send(h11.Data(data=body))
            await self._send(h11.EndOfMessage())
            answer = await self._answer()
        except h11.ProtocolError as error:
            raise BadAnswer(str(error)) from error
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return answer

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._writer.wait_closed()

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
            await self._writer.drain()

    async def _answer(self) -> Answer:
        response: h11.Response | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                data = await self._reader.read(_RECEIVE_BYTES)
                if not data and (response is None or self._http.their_state is h11.SEND_BODY):
                    raise HungUp("it hung up before it had answered")
                self._http.receive_data(data)
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY_BYTES:
                    raise BadAnswer(f"its answer is larger than {MAX_BODY_BYTES} bytes")
            elif isinstance(event, h11.EndOfMessage) and response is not None:
                kind = dict(response.headers).get(b"content-type", b"")
                return Answer(response.status_code, kind.startswith(b"application/problem+json"), bytes(body))


def understood(answer: Answer, name: str) -> Any:
    """The answer's JSON, or the error that it tells, raised with the peer's ``name`` before its message."""
    try:
        document = json.loads(answer.body) if answer.body else None
    except (ValueError, RecursionError) as error:
        raise PeerUnreachable(f"{name} answered with what is no JSON") from error
    if answer.status < 300:
        return document
    if not answer.problem or not isinstance(document, dict):
        raise PeerUnreachable(f"{name} answered with HTTP status {answer.status}", hint="is that a wirtd?")
    raise told(document, name)


def told(document: Mapping[str, Any], name: str) -> WirtError:
    """The error in a problem document. One that this version doesn't know, or that speaks of a third party,
    becomes the nearest above it."""
    hint = document.get("hint")
    message = f"{name}: {document.get('title', 'an error without words')}"
    kind = _KINDS.get(str(document.get("code")), WirtError)
    return kind(message, hint=hint if isinstance(hint, str) else None)


def _kinds() -> dict[str, type[WirtError]]:
    """Those of the tree of errors: their kin elsewhere have things to say that don't go over the wire."""
    found = {
        kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, WirtError)
    }
    # Not theirs to raise here: these speak of this host's own store, of a key in it, or say that it is not known
    # whether there was an effect.
    found[errors.StoreConflict.code] = errors.Conflict
    for gone in (errors.Compacted, errors.StoreClosed, errors.PeerUnreachable, errors.DaemonUnreachable):
        found[gone.code] = errors.Unavailable
    return found


_KINDS = _kinds()
