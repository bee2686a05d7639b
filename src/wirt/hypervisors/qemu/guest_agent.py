"""The QEMU guest agent's protocol (QEMU docs/interop/qemu-ga-ref): JSON objects, one a line, over a socket that
QEMU joins to a port in the guest.

The guest may hold anything between answers: an old one to a question that nobody waits for any more, half a
line, noise without end. So each request has a connection of its own, which begins with ``guest-sync-delimited``:
whatever comes before the answer to that is thrown away. All is bounded: a line's length, what is thrown away, the
time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from wirt.hypervisors.qemu import sockets
from wirt.hypervisors.qemu.untrusted import BoundedLines, Malformed, Rate, parse
from wirt.model.errors import HypervisorError, HypervisorSilent
from wirt.model.text import plain

ANSWER_S = 5.0
MOST_LINE_BYTES = 256 * 1024
"""An honest agent's longest answer, to guest-info, has some 5 KB."""
MOST_SKIPPED_BYTES = 1024 * 1024
MOST_WORDS = 200
DELIMITER = b"\xff"
"""A byte that no UTF-8 text has: it tells both sides to begin anew."""


class AgentRefused(HypervisorError):
    """The agent is well, and does not do it."""


class Agent:
    """One guest's agent. ``name`` is the domain's, for messages; the socket need not be there."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path
        self._one = asyncio.Lock()

    @property
    def has_port(self) -> bool:
        """Whether the guest was given a port to have an agent on."""
        return self._path.exists()

    async def ask(
        self, command: str, arguments: Mapping[str, object] | None = None, *, deadline_s: float = ANSWER_S
    ) -> Any:
        """What ``command`` returns, of whatever shape. ``HypervisorSilent`` after ``deadline_s``,
        ``HypervisorError`` with the agent's words or because it talks nonsense."""
        async with self._within(command, deadline_s), self._talking() as talk:
            await talk.synchronise()
            await talk.say(command, arguments)
            return await talk.answer()

    async def tell(self, command: str, arguments: Mapping[str, object] | None = None) -> None:
        """As :meth:`ask`, for commands that are not answered when they succeed. An error that comes within a
        second is raised."""
        async with self._within(command, ANSWER_S + 1), self._talking() as talk:
            await asyncio.wait_for(talk.synchronise(), ANSWER_S)
            await talk.say(command, arguments)
            with contextlib.suppress(TimeoutError, EOFError, ConnectionError):
                await asyncio.wait_for(talk.answer(), 1.0)

    @asynccontextmanager
    async def _within(self, command: str, deadline_s: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(deadline_s), self._one:
                yield
        except TimeoutError as error:
            raise HypervisorSilent(
                f"{self.name}: its guest agent did not answer {command} within {deadline_s:g} s",
                hint="the guest may be busy or paused, or has no agent that runs",
            ) from error
        except _Refused as error:
            raise AgentRefused(f"{self.name}: its guest agent refused {command}: {error}") from error
        except Malformed as error:
            raise HypervisorError(f"{self.name}: its guest agent gave {error} to {command}") from error
        except (OSError, EOFError) as error:
            raise HypervisorError(f"{self.name}: its guest agent's port went away during {command}") from error

    @asynccontextmanager
    async def _talking(self) -> AsyncIterator[_Talk]:
        reader, writer = await asyncio.open_connection(sock=sockets.connect(self._path))
        try:
            yield _Talk(reader, writer)
        finally:
            writer.transport.abort()


class _Refused(Exception):
    """The agent's own words, printable and short."""


class _Talk:
    """One connection. Errors: ``Malformed``, ``EOFError``, ``OSError``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._lines = BoundedLines(reader, most_bytes=MOST_LINE_BYTES, rate=Rate(burst=8000, per_s=2000))

    async def synchronise(self) -> None:
        """Throw away whatever the guest still had to say. The number is new, so no old answer has it."""
        number = secrets.randbelow(1 << 31)
        # The delimiter ends whatever a request that was cut off has left in the agent's parser.
        await self.say("guest-sync-delimited", {"id": number}, before=DELIMITER)
        skipped = 0
        while skipped <= MOST_SKIPPED_BYTES:
            line = await self._lines.next()
            if _answers(line, number):
                return
            skipped += len(line)
        raise Malformed(f"more than {MOST_SKIPPED_BYTES} bytes that nobody asked for")

    async def say(
        self, command: str, arguments: Mapping[str, object] | None = None, *, before: bytes = b""
    ) -> None:
        request: dict[str, object] = {"execute": command}
        if arguments:
            request["arguments"] = dict(arguments)
        self._writer.write(before + json.dumps(request).encode() + b"\n")
        await self._writer.drain()

    async def answer(self) -> Any:
        value = parse(await self._lines.next())
        if "error" in value:
            error = value["error"]
            words = error.get("desc") if isinstance(error, dict) else None
            raise _Refused(plain(words, MOST_WORDS) if isinstance(words, str) else "it does not say why")
        if "return" not in value:
            raise Malformed("neither an answer nor an error")
        return value["return"]


def _answers(line: bytes, number: int) -> bool:
    """Whether ``line`` is the answer to guest-sync-delimited with the id ``number``."""
    _, delimiter, text = line.rpartition(DELIMITER)
    if not delimiter:
        return False
    try:
        value = parse(text).get("return")
    except Malformed:
        return False
    return isinstance(value, int) and not isinstance(value, bool) and value == number
