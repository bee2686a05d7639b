"""The store of a single host: a SQLite file, in the hands of one thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from wirt.ports.clock import Clock
from wirt.store.local import KEEP_REVISIONS, LocalStore
from wirt.store.state_file import StateFile
from wirt.store.tree import Effect, Tree


class SqliteStore(LocalStore):
    """A :class:`wirt.ports.store.Store` in a file; see there for what it promises. From
    :func:`open_sqlite_store`."""


async def open_sqlite_store(path: Path, clock: Clock, *, keep_revisions: int = KEEP_REVISIONS) -> SqliteStore:
    """Open the store at ``path``, which is created if it does not exist (its directory must).

    Errors: ``CorruptState`` (not a store, damaged, or from a newer wirt; it is left as it is), ``ResourceBusy``
    (someone else has it open), ``Shortage`` (no room), ``Unavailable`` (permissions, no such directory).
    """
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
    opening = thread.submit(StateFile.open, path)
    try:
        file, tree = await asyncio.wrap_future(opening)
    except BaseException:
        # If it is we who were cancelled, the thread goes on, and what it opens must not stay locked.
        await asyncio.wait({asyncio.wrap_future(thread.submit(_close_if_opened, opening))})
        thread.shutdown(wait=False)
        raise
    return SqliteStore(clock, tree, _ThreadedFile(file, thread), keep_revisions=keep_revisions)


def _close_if_opened(opening: Future[tuple[StateFile, Tree]]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].close()


class _ThreadedFile:
    def __init__(self, file: StateFile, thread: ThreadPoolExecutor) -> None:
        self._file = file
        self._thread = thread

    async def write(self, effect: Effect) -> None:
        await asyncio.wrap_future(self._thread.submit(self._file.write, effect))

    async def close(self) -> None:
        try:
            await asyncio.wrap_future(self._thread.submit(self._file.close))
        finally:
            self._thread.shutdown(wait=False)
