"""Long synchronous work beside the event loop: in a thread of its own, which is told when nobody waits any
more."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
END_S = 20.0
"""How long a cancelled caller waits for the thread. One that hangs in a file system does not keep the daemon."""


async def in_thread(
    stop: threading.Event | None, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """What ``function`` gives. On cancellation ``stop`` is set, and the thread's end is waited for."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    work = functools.partial(deliver, loop, answer, functools.partial(function, *args, **kwargs))
    threading.Thread(target=work, name="wirt-work", daemon=True).start()
    try:
        return await asyncio.shield(answer)
    except asyncio.CancelledError:
        if stop is not None:
            stop.set()
        await asyncio.wait({answer}, timeout=END_S)
        if answer.done() and not answer.cancelled():
            answer.exception()
        raise


def deliver(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T], call: Callable[[], T]) -> None:
    """In a thread: do ``call``, and have ``loop`` give its outcome to ``answer``."""
    value, failure = None, None
    try:
        value = call()
    except BaseException as error:
        failure = error
    with contextlib.suppress(RuntimeError):  # the daemon has ended meanwhile
        loop.call_soon_threadsafe(_settle, answer, value, failure)


def _settle(answer: asyncio.Future[Any], value: Any, failure: BaseException | None) -> None:
    if answer.done():
        return
    if failure is not None:
        answer.set_exception(failure)
    else:
        answer.set_result(value)
