"""A source that says nothing for too long is gone, and what waits for it is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from wirt.model.errors import Unavailable
from wirt.operations.environment import Environment
from wirt.operations.handovers import Attempt

T = TypeVar("T")
SILENCE_S = 30.0
"""A source that says nothing for so long is gone, and its guest is its own again."""
LOOK_S = 1.0


async def unless_silent(
    environment: Environment, attempt: Attempt, source: str, work: Coroutine[Any, Any, T]
) -> T:
    """``work``'s result. ``Unavailable`` once ``source`` has been silent for too long; ``work`` has ended then."""
    task, watching = asyncio.create_task(work), asyncio.create_task(_silent(environment, attempt))
    try:
        await asyncio.wait((task, watching), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Unavailable(f"{source} has said nothing for {SILENCE_S:g} s", hint="its guest goes on there")
        return task.result()
    finally:
        task.cancel()
        watching.cancel()
        await asyncio.gather(task, watching, return_exceptions=True)


async def _silent(environment: Environment, attempt: Attempt) -> None:
    clock = environment.clock
    while clock.monotonic() - attempt.heard_at < SILENCE_S:
        await clock.sleep(LOOK_S)
