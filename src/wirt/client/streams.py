"""The API's two websockets: a domain's console and the host's events. Slow to import (90 ms); only they do."""

from __future__ import annotations

import json
from contextlib import contextmanager

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import connect

from wirt.client import http
from wirt.client.api import domain_path, problem
from wirt.client.errors import BadAnswer, ClientError, DaemonUnreachable, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

    from wirt.client.api import Api
    from wirt.client.errors import Json

OPEN_S = 10.0
CLOSE_S = 0.5
"""Leaving a console that is being flooded shall not take longer."""
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""A console's whole history may come as one message."""
ENDED = 1000
"""The websocket's close code when a domain's run has ended."""
REFUSED = 4000
"""... and from which on it says that there never was a stream; the reason tells why."""


class Console:
    """Bytes from and to one run of a domain. ``receive`` and ``send`` may be used by two threads."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def receive(self, timeout_s: float | None = None) -> bytes | None:
        """What the domain printed next, or ``None`` when its run has ended or it was silent for ``timeout_s``.
        Raises :class:`ClientError` when the connection broke."""
        try:
            message = self._connection.recv(timeout=timeout_s)
        except TimeoutError:
            return None
        except ConnectionClosed as closed:
            code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd is not None else (0, "")
            if code == ENDED:
                return None
            if code >= REFUSED and reason:
                raise ClientError(reason) from None
            raise ClientError(
                f"the console was cut off{': ' + reason if reason else ''}",
                hint="the domain may well be running: wirt list, then wirt console again",
            ) from None
        return message.encode() if isinstance(message, str) else message

    def send(self, data: bytes) -> bool:
        """Whether ``data`` could still be sent."""
        try:
            self._connection.send(data)
        except ConnectionClosed:
            return False
        return True

    def close(self) -> None:
        self._connection.close()


@contextmanager
def console(api: Api, ref: str, *, offset: int, follow: bool = True) -> Iterator[Console]:
    """The console of the domain ``ref`` from byte ``offset``: 0 for all that is kept, -1 for only what is new.

    Without ``follow`` the server is asked to close after what is kept.
    """
    target = f"{domain_path(ref, 'console')}?offset={offset}{'' if follow else '&follow=0'}"
    with _opened(api, target) as connection:
        yield Console(connection)


def events(api: Api, after: int | None) -> Iterator[Json]:
    """``Event`` after ``Event``, without end; those after the number ``after``, or from now on."""
    target = "/v1/events" if after is None else f"/v1/events?after={after}"
    with _opened(api, target) as connection:
        while True:
            try:
                message = connection.recv()
            except ConnectionClosed:
                raise ClientError(
                    "wirtd closed the stream of events", hint="it may have been restarted: try again"
                ) from None
            yield _event(message)


def _event(message: str | bytes) -> Json:
    try:
        document = json.loads(message)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise BadAnswer("wirtd sent an event that is not a JSON object")
    return document


@contextmanager
def _opened(api: Api, target: str) -> Iterator[ClientConnection]:
    api.ensure_daemon()
    try:
        opened = connect(
            f"ws://localhost{target}",
            sock=http.connect(api.home.socket, OPEN_S),
            compression=None,
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
            ping_interval=None,
            max_size=MAX_MESSAGE_BYTES,
        )
    except InvalidStatus as refused:
        raise problem(refused.response.status_code, bytes(refused.response.body or b"")) from None
    except InvalidHandshake as error:
        raise BadAnswer(f"wirtd does not speak websocket at {target}: {error}") from None
    except TimeoutError:
        raise TimedOut(f"wirtd did not open {target} within {OPEN_S:g} s") from None
    except EOFError:
        raise BadAnswer(f"wirtd closed the connection instead of opening {target}") from None
    except OSError as error:
        raise DaemonUnreachable(f"can't open {target}: {error.strerror or error}") from None
    with opened as connection:
        yield connection
