"""JSON objects, one a line, from a peer that may lie: QEMU's monitor, or an agent in the guest.

Whatever comes, memory is bounded (a line has a longest length) and so is time (a peer that talks without end is
read only so fast, and what it sends meanwhile waits on its side).
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

MOST_LINE_BYTES = 1024 * 1024
"""The longest answers of an honest QEMU, to query-named-block-nodes and query-qmp-schema, have some 200 KB."""
MOST_DEPTH = 64
MOST_PARTS = 50_000
"""Objects and lists in one line. An empty one takes three bytes to write and seventy to keep."""
LEAST_INTEGER, MOST_INTEGER = -(1 << 63), (1 << 64) - 1
"""QEMU's own numbers are int64 or uint64 (docs/devel/qapi-code-gen)."""
CHUNK_BYTES = 64 * 1024
_IN_A_ROW = 32
"""After so many lines the event loop gets its turn, even when more are there."""
_BYTES_UNREAD_PER_TOKEN, _LINES_UNREAD_PER_TOKEN = 8192, 64
"""What is thrown away costs something too: 60000 lines of noise a second, empty ones twice as many."""
_LONGEST_NUMBER = 64
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)
_STRANGE_NUMBER = re.compile(rb"[0-9]{19}|[0-9.][eE]|NaN|Infinity")
"""What may be a number that has to be looked at; asking Python about each would take most of the time."""


class Malformed(ValueError):
    """What came is not what may come; the message says how, and quotes nothing of it."""


def parse(line: bytes) -> dict[str, Any]:
    """The JSON object (RFC 8259) in ``line``, which is no longer than :class:`BoundedLines` lets through."""
    parts = line.count(b"[") + line.count(b"{")
    if parts > MOST_PARTS:
        raise Malformed(f"JSON of more than {MOST_PARTS} parts")
    if parts > MOST_DEPTH and _deeper_than(line, MOST_DEPTH):
        raise Malformed(f"JSON that is nested more than {MOST_DEPTH} deep")
    try:
        text = line.decode()
        value = _strict.decode(text) if _STRANGE_NUMBER.search(line) else json.loads(text)
    except Malformed:
        raise
    except UnicodeDecodeError:
        raise Malformed("text that is not UTF-8") from None
    except (ValueError, RecursionError):
        raise Malformed("text that is not JSON") from None
    if not isinstance(value, dict):
        raise Malformed("JSON that is no object")
    return value


def _deeper_than(line: bytes, most: int) -> bool:
    depth = 0
    for match in _BRACKETS.finditer(line):
        if match[0] in b"[{":
            depth += 1
            if depth > most:
                return True
        elif match[0] in b"]}":
            depth -= 1
    return False


def _integer(text: str) -> int:
    value = int(text) if len(text) <= _LONGEST_NUMBER else MOST_INTEGER + 1
    if not LEAST_INTEGER <= value <= MOST_INTEGER:
        raise Malformed("a number of more than 64 bits")
    return value


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Malformed("a number beyond all bounds")
    return value


def _no_number_at_all(text: str) -> NoReturn:
    raise Malformed("NaN or Infinity, which JSON does not have")


_strict = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=_no_number_at_all)


@dataclass(frozen=True, slots=True)
class Rate:
    """``burst`` tokens are there at first, and never more; ``per_s`` come back. A line costs what it is said to
    cost, and one for each ``bytes_per_token`` of its length."""

    burst: int = 4000
    per_s: int = 2000
    bytes_per_token: int = 256


class Bucket:
    """Tokens (a token bucket). ``now_s`` is any clock that only goes forward."""

    def __init__(self, rate: Rate, now_s: float) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._at_s = now_s

    def take(self, tokens: float, now_s: float) -> float:
        """Seconds to wait before going on. One may go into debt, and pays it by waiting."""
        self._tokens = min(float(self._rate.burst), self._tokens + (now_s - self._at_s) * self._rate.per_s)
        self._at_s = now_s
        self._tokens -= tokens
        return max(0.0, -self._tokens / self._rate.per_s)


class BoundedLines:
    """Lines from ``reader``, without their ends. ``cost`` says how many tokens a line costs beside its length;
    ``None`` throws it away unread."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        *,
        most_bytes: int = MOST_LINE_BYTES,
        rate: Rate | None = None,
        cost: Callable[[bytes], int | None] | None = None,
    ) -> None:
        self._reader = reader
        self._most_bytes = most_bytes
        self._rate = rate or Rate()
        self._cost = cost
        self._bucket = Bucket(self._rate, asyncio.get_running_loop().time())
        self._lines: deque[bytes] = deque()
        self._begun = bytearray()
        self._in_a_row = 0
        self._too_long = False

    async def next(self) -> bytes:
        """``EOFError`` at the end, where half a line counts for nothing; ``Malformed`` for a line that is too
        long."""
        while True:
            while not self._lines:
                if self._too_long:
                    raise Malformed(f"a line of more than {self._most_bytes} bytes")
                await self._fill()
            line = self._lines.popleft()
            cost = 1 if self._cost is None else self._cost(line)
            if line and cost is not None:
                await self._pay(cost + len(line) // self._rate.bytes_per_token)
                return line

    async def _fill(self) -> None:
        data = await self._reader.read(CHUNK_BYTES)
        if not data:
            raise EOFError
        first, *rest = data.split(b"\n")
        self._begun += first
        if rest:
            for line in (bytes(self._begun), *filter(None, rest[:-1])):
                self._keep(line)
            self._begun = bytearray(rest[-1])
        if len(self._begun) > self._most_bytes:
            self._too_long = True
        self._in_a_row = _IN_A_ROW  # the reader answers at once as long as it has something
        await self._pay(len(data) // _BYTES_UNREAD_PER_TOKEN + len(rest) // _LINES_UNREAD_PER_TOKEN)

    def _keep(self, line: bytes) -> None:
        """Lines before one that is too long still count."""
        self._too_long = self._too_long or len(line) > self._most_bytes
        if not self._too_long:
            self._lines.append(line.rstrip(b"\r"))

    async def _pay(self, tokens: int) -> None:
        wait_s = self._bucket.take(tokens, asyncio.get_running_loop().time())
        self._in_a_row += 1
        if wait_s > 0 or self._in_a_row >= _IN_A_ROW:
            self._in_a_row = 0
            await asyncio.sleep(wait_s)
