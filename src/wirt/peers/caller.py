"""Calls over a connection that is made when it is needed and made anew when it broke: what TLS and ssh share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from wirt.model.errors import PeerUnreachable
from wirt.peers.http import Answer, BadAnswer, Connection, understood

IDLE_S = 60.0
"""A connection that has been idle for longer is not used again: the other side (``KEEP_ALIVE_S``) might be hanging
up at that moment, and whether the request had an effect would not be known."""
KEEP_ALIVE_S = 120
"""How long a daemon keeps a connection on which nothing is asked."""


class Caller:
    """``dial`` makes a connection, or raises ``PeerUnreachable``; ``words`` puts an error of it into a sentence.
    At most ``at_once`` requests are under way, each on a connection of its own; others wait their turn."""

    def __init__(
        self,
        name: str,
        dial: Callable[[], Awaitable[Connection]],
        words: Callable[[Exception], Awaitable[PeerUnreachable]],
        at_once: int = 1,
    ) -> None:
        self.name = name
        self._dial = dial
        self._words = words
        self._idle: list[tuple[Connection, float]] = []
        self._busy: set[Connection] = set()
        self._turn = asyncio.Semaphore(at_once)

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None, deadline_s: float) -> Any:
        data = None if body is None else json.dumps(body).encode()
        try:
            async with asyncio.timeout(deadline_s), self._turn:
                answer = await self._ask(method, path, data)
        except TimeoutError:
            raise PeerUnreachable(
                f"{self.name} did not answer within {deadline_s:g} s ({method} {path})",
                hint="is the link up, and is wirtd there alive?",
            ) from None
        return understood(answer, self.name)

    async def close(self) -> None:
        """Requests that are under way fail."""
        for connection in self._busy:
            connection.transport.abort()
        while self._idle:
            await self._idle.pop()[0].close()

    async def _ask(self, method: str, path: str, data: bytes | None) -> Answer:
        connection = await self._ready()
        self._busy.add(connection)
        try:
            answer = await connection.call(method, path, data)
        except (OSError, BadAnswer) as error:
            connection.transport.abort()
            raise await self._words(error) from error
        except BaseException:
            # Cancelled in the middle: what comes next on it would be the answer to this.
            connection.transport.abort()
            raise
        finally:
            self._busy.discard(connection)
        self._idle.append((connection, asyncio.get_running_loop().time()))
        return answer

    async def _ready(self) -> Connection:
        """The one that was used last, if it is of use still."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection, since = self._idle.pop()
            if connection.usable and now - since < IDLE_S:
                return connection
            await connection.close()
        return await self._dial()
