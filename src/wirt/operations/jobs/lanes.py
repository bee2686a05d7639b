"""One lane for each subject: what comes for the same domain is done one after the other, without locks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

Work = Callable[[], Awaitable[None]]


class Lanes:
    """A lane lives while it has work; a thousand idle domains cost nothing."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Work]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def put(self, subject: str, work: Work) -> None:
        if self._closed:
            return
        if subject in self._waiting:
            self._waiting[subject].append(work)
            return
        self._waiting[subject] = deque([work])
        task = asyncio.create_task(self._drive(subject))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def busy(self, subject: str) -> bool:
        return subject in self._waiting

    def close(self) -> None:
        """Nothing that waits will start."""
        self._closed = True
        for waiting in self._waiting.values():
            waiting.clear()

    async def _drive(self, subject: str) -> None:
        waiting = self._waiting[subject]
        try:
            while waiting:
                await waiting.popleft()()
        finally:
            self._waiting.pop(subject, None)
