"""Watches on a :class:`~wirt.store.tree.Tree`.

A watch is a position in the tree's history, not a queue: one that nobody reads holds nothing, and one that falls
behind what history keeps is told so.
"""

from __future__ import annotations

import asyncio

from wirt.model.errors import StoreClosed
from wirt.ports.store import Change
from wirt.store.tree import Tree, under


class Watches:
    """All watches of one store. ``publish`` is to be called after each change of the tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.closed = False
        self._waiting: dict[TreeWatch, None] = {}  # a set with an order, for the sake of replays

    def open(self, prefix: str, after: int) -> TreeWatch:
        return TreeWatch(self, prefix, after)

    def publish(self, changes: tuple[Change, ...]) -> None:
        """Hand ``changes``, one transaction's, to those who wait for such."""
        if changes:
            for watch in tuple(self._waiting):
                watch.offer(changes)

    def close(self) -> None:
        """Whoever waits, and whoever asks from now on, gets ``StoreClosed``."""
        self.closed = True
        for watch in tuple(self._waiting):
            watch.wake()

    def enter(self, watch: TreeWatch) -> None:
        self._waiting[watch] = None

    def leave(self, watch: TreeWatch) -> None:
        self._waiting.pop(watch, None)


class TreeWatch:
    """See :class:`wirt.ports.store.Watch`."""

    def __init__(self, watches: Watches, prefix: str, after: int) -> None:
        self._watches = watches
        self._prefix = prefix
        self._after = after
        self._ended = False
        self._news: asyncio.Future[tuple[Change, ...]] | None = None

    def __aiter__(self) -> TreeWatch:
        return self

    async def __anext__(self) -> tuple[Change, ...]:
        if self._news is not None:
            raise RuntimeError("another task is reading this watch")
        changes: tuple[Change, ...] = ()
        while not changes:
            if self._ended:
                raise StopAsyncIteration
            if self._watches.closed:
                raise StoreClosed("the store was closed while it was being watched")
            tree = self._watches.tree
            changes = tree.next_changes(self._prefix, self._after)
            if not changes:
                self._after = max(self._after, tree.revision)
                changes = await self._wait()
        # Only now, when the reader is sure to get them: a cancelled wait must not skip anything.
        self._after = changes[0].revision
        return changes

    async def aclose(self) -> None:
        self._ended = True
        self.wake()

    async def _wait(self) -> tuple[Change, ...]:
        """The next changes, or none if something else has happened."""
        self._news = asyncio.get_running_loop().create_future()
        self._watches.enter(self)
        try:
            return await self._news
        finally:
            self._watches.leave(self)
            self._news = None

    def offer(self, changes: tuple[Change, ...]) -> None:
        """Called for each transaction while the watch waits."""
        revision = changes[0].revision
        if revision <= self._after or self._news is None or self._news.done():
            return
        wanted = under(self._prefix, changes)
        if wanted:
            # The changes themselves, not just a nudge: history may be compacted before the reader's turn comes.
            self._news.set_result(wanted)
        else:
            self._after = revision

    def wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(())
