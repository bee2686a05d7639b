"""Work that a cancellation does not cut in two."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


async def whole(work: Awaitable[None]) -> None:
    """Let ``work`` come to its end; a cancellation that comes meanwhile counts after it."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def bound(work: Awaitable[None], abandoned: Callable[[], bool]) -> None:
    """Let ``work`` come to its end whoever cancels it, unless all is ``abandoned``: the daemon ends."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            if abandoned():
                task.cancel()
                await asyncio.wait({task})
                raise
            uncancel()
    task.result()


def uncancel() -> None:
    this_task().uncancel()


def this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
