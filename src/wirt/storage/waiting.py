"""Calls that may never come back: a file system whose server has gone keeps whoever touches it, and can't be
interrupted."""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from wirt.model.errors import Unavailable
from wirt.ports.threads import deliver

CALL_S = 20.0
P = ParamSpec("P")
T = TypeVar("T")


class Patient:
    """One thread that waits so that nobody else does. While it is kept, calls fail at once; when it comes free,
    they work again. It does not keep the daemon from ending."""

    def __init__(self, what: str, deadline_s: float = CALL_S) -> None:
        self._what = what
        self._deadline_s = deadline_s
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._turn = asyncio.Lock()
        self._stuck = False

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """``function`` in the thread. ``Unavailable`` after the deadline; it may still take effect then."""
        async with self._turn:
            if self._stuck:
                raise self._silent()
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[T] = loop.create_future()

            def call() -> T:
                try:
                    return function(*args, **kwargs)
                finally:
                    self._stuck = False

            self._start()
            self._calls.put(functools.partial(deliver, loop, answer, call))
            done, _ = await asyncio.wait({answer}, timeout=self._deadline_s)
            if not done:
                self._stuck = not answer.done()
                raise self._silent()
            return answer.result()

    def _silent(self) -> Unavailable:
        return Unavailable(
            f"{self._what} does not answer",
            hint="is the server there, and the way to it? It is used again by itself",
        )

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=f"waits for {self._what}", daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        while True:
            self._calls.get()()
