"""A deadline by the clock that was handed in, so that it holds under a virtual one too."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from wirt.model.errors import DeadlinePassed
from wirt.ports.clock import Clock

T = TypeVar("T")


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, T], what: str) -> T:
    """``work``'s result. ``DeadlinePassed`` says that ``what`` did not come in time; then it has been stopped."""
    task, timer = asyncio.create_task(work), asyncio.create_task(clock.sleep(seconds))
    try:
        await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise DeadlinePassed(f"{what} did not come within {seconds:g} s")
        return task.result()
    finally:
        for each in (task, timer):
            each.cancel()
        await asyncio.gather(task, timer, return_exceptions=True)
