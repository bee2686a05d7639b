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
    One request at a time."""

    def __init__(
        self,
        name: str,
        dial: Callable[[], Awaitable[Connection]],
        words: Callable[[Exception], Awaitable[PeerUnreachable]],
    ) -> None:
        self.name = name
        self._dial = dial
        self._words = words
        self._connection: Connection | None = None
        self._idle_since = 0.0
        self._turn = asyncio.Lock()

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
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _ask(self, method: str, path: str, data: bytes | None) -> Answer:
        connection = await self._ready()
        try:
            answer = await connection.call(method, path, data)
        except (OSError, BadAnswer) as error:
            self._drop()
            raise await self._words(error) from error
        except BaseException:
            # Cancelled in the middle: what comes next on it would be the answer to this.
            self._drop()
            raise
        self._idle_since = asyncio.get_running_loop().time()
        return answer

    async def _ready(self) -> Connection:
        if self._connection is not None:
            idle_s = asyncio.get_running_loop().time() - self._idle_since
            if self._connection.usable and idle_s < IDLE_S:
                return self._connection
            await self.close()
        self._connection = await self._dial()
        self._idle_since = asyncio.get_running_loop().time()
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.transport.abort()
