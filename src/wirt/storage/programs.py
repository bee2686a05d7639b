"""Programs that pools are made of (qemu-img, LVM's, mount): run with a deadline, their words taken as reasons."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager

from wirt.model.errors import Shortage, Unavailable, WirtError
from wirt.ports.process import MOST_BYTES, finish, started

DEADLINE_S = 60.0
_PART_BYTES = 64 * 1024
_FULL = (
    *("No space left on device", "insufficient free space", "Disk quota exceeded", "insufficient free extents"),
    *("is out of data space", "reached threshold"),  # a thin pool
)


class Failed(Exception):
    """A program ended with another status than 0, having said this."""

    def __init__(self, out: str, said: str, code: int) -> None:
        super().__init__(said)
        self.out = out
        self.said = said
        self.code = code


async def run(*words: str, what: str, deadline_s: float = DEADLINE_S, pass_fds: Sequence[int] = ()) -> str:
    """Standard output of a program that must succeed. ``what`` could not be done otherwise: ``Shortage`` where it
    says that room ran out, else ``Unavailable`` with its own words. It is ended when the caller is cancelled."""
    try:
        return await attempt(*words, what=what, deadline_s=deadline_s, pass_fds=pass_fds)
    except Failed as error:
        raise failed(what, error.said) from error


async def attempt(*words: str, what: str, deadline_s: float = DEADLINE_S, pass_fds: Sequence[int] = ()) -> str:
    """The same for those who look at the failure themselves: ``Failed``."""
    try:
        with _starting(words, what):
            ended = await finish(words, deadline_s=deadline_s, environment=_environment(), pass_fds=pass_fds)
    except TimeoutError as error:
        raise Unavailable(f"{what}: {words[0]} took longer than {deadline_s:g} s and was ended") from error
    return _end(ended.code, ended.out, ended.said)


async def stream(
    *words: str, what: str, stalled_s: float, listener: Callable[[bytes], None], pass_fds: Sequence[int] = ()
) -> str:
    """One that takes long: ``listener`` is given its output as it comes. ``Failed``; ``Unavailable`` after
    ``stalled_s`` without any."""
    out = bytearray()
    async with AsyncExitStack() as stack:
        with _starting(words, what):
            process = await stack.enter_async_context(
                started(words, environment=_environment(), pass_fds=pass_fds)
            )
        assert process.stdout is not None
        assert process.stderr is not None
        errors = asyncio.create_task(_last_words(process.stderr))
        try:
            while True:
                async with asyncio.timeout(stalled_s):
                    part = await process.stdout.read(_PART_BYTES)
                if not part:
                    break
                listener(part)
                out = (out + part)[-MOST_BYTES:]
            async with asyncio.timeout(stalled_s):
                said = await errors
                await process.wait()
        except TimeoutError as error:
            raise Unavailable(f"{what}: it got no further for {stalled_s:g} s and was ended") from error
        finally:
            errors.cancel()
    return _end(process.returncode or 0, bytes(out), said)


async def _last_words(stream: asyncio.StreamReader) -> bytes:
    """All to its end, of which the last part is kept."""
    said = b""
    while part := await stream.read(_PART_BYTES):
        said = (said + part)[-_PART_BYTES:]
    return said


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


@contextmanager
def _starting(words: Sequence[str], what: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise
    except OSError as error:
        raise Unavailable(f"{what}: {words[0]} can't be started: {error.strerror}", hint="make setup") from error


def _end(code: int, out: bytes, said: bytes) -> str:
    text = out.decode(errors="replace")
    if code:
        raise Failed(text, said.decode(errors="replace"), code)
    return text


def failed(what: str, said: str) -> WirtError:
    """What a program's last words mean."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    words = "; ".join(lines[-3:])[:500] or "it said nothing"
    if any(each in said for each in _FULL):
        return Shortage(f"{what}: {words}", hint="wirt pool list shows how full the pools are")
    return Unavailable(f"{what}: {words}")
