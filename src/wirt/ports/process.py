"""Programs that adapters run: bounded in time, and gone with whoever waits, with all that they started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

MOST_BYTES = 16 * 1024 * 1024
_END_S = 5.0
"""One that waits in the kernel, for a server that is gone, does not end: it must not hold the daemon."""


@dataclass(frozen=True, slots=True)
class Finished:
    """``code`` is negative for a signal. ``said`` is standard error's, empty where both went to ``out``."""

    code: int
    out: bytes
    said: bytes = b""


async def finish(
    words: Sequence[str],
    *,
    deadline_s: float,
    given: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    together: bool = False,
) -> Finished:
    """Run ``words`` to their end, with ``given`` on standard input. ``OSError`` if they can't be started,
    ``TimeoutError`` after ``deadline_s``. ``together``: what is said belongs to the output."""
    run = started(words, given=given is not None, environment=environment, pass_fds=pass_fds, together=together)
    async with run as process, asyncio.timeout(deadline_s):
        out, said = await process.communicate(given)
    return Finished(process.returncode or 0, out, said or b"")


@asynccontextmanager
async def started(
    words: Sequence[str],
    *,
    given: bool = False,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    together: bool = False,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A session of its own, which is over when this is left."""
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE if given else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT if together else asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
        pass_fds=tuple(pass_fds),
        limit=MOST_BYTES,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    await process.wait()
