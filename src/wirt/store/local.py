"""The front of both local stores: one :class:`Tree`, one disk, one writer.

Reads are answered from the tree. Requests that write are served one after the other by a single task, which
outlives the tasks that asked: plan on the tree, write the effect to the disk, apply it to the tree, tell the
watches. So the tree never shows what the disk does not hold, and a caller who is cancelled leaves no half step.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from wirt.model.errors import NotFound, StoreClosed, WirtError
from wirt.ports.clock import Clock
from wirt.ports.store import Compare, Delete, Entry, Put, Snapshot
from wirt.store.expiry import Expiry
from wirt.store.tree import Effect, Tree
from wirt.store.validation import check_key, check_prefix, check_transaction, check_ttl
from wirt.store.watches import TreeWatch, Watches

KEEP_REVISIONS = 10_000
KEEP_BYTES = 64 << 20
"""History is in memory too, so it must not outgrow it even if every value is as large as can be."""


class Disk(Protocol):
    """Where effects are kept. Used by one caller at a time."""

    async def write(self, effect: Effect) -> None:
        """Return when ``effect`` will survive a power cut. On an error nothing of it is left."""
        ...

    async def close(self) -> None: ...


class _Request:
    """A plan that waits for its turn, and the caller who waits for its effect (or no longer does)."""

    def __init__(self, plan: Callable[[], Effect]) -> None:
        self.plan = plan
        self.done: asyncio.Future[Effect] = asyncio.get_running_loop().create_future()

    def given_up(self) -> bool:
        return self.done.cancelled()

    def succeed(self, effect: Effect) -> None:
        if not self.done.done():
            self.done.set_result(effect)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class LocalStore:
    """A :class:`wirt.ports.store.Store`; see there. ``keep_revisions`` of history stay when it compacts itself."""

    def __init__(self, clock: Clock, tree: Tree, disk: Disk, *, keep_revisions: int = KEEP_REVISIONS) -> None:
        self._tree = tree
        self._disk = disk
        self._keep_revisions = keep_revisions
        self._watches = Watches(tree)
        self._queue: deque[_Request] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._closed = False
        self._closing: asyncio.Task[None] | None = None
        self._expiry = Expiry(clock, self._end_lease)
        for lease in tree.leases.values():
            self._expiry.start(lease)

    # Reading

    async def get(self, key: str) -> Entry | None:
        self._check_open()
        check_key(key)
        return self._tree.get(key)

    async def list(self, prefix: str) -> Snapshot:
        self._check_open()
        check_prefix(prefix)
        return self._tree.list(prefix)

    def watch(self, prefix: str, after: int) -> TreeWatch:
        self._check_open()
        check_prefix(prefix)
        return self._watches.open(prefix, after)

    # Writing

    async def commit(self, *writes: Put | Delete, when: tuple[Compare, ...] = ()) -> int:
        self._check_open()
        check_transaction(writes, when)
        effect = await self._carry_out(lambda: self._tree.transact(writes, when))
        return effect.revision

    async def grant(self, ttl_s: int) -> int:
        self._check_open()
        check_ttl(ttl_s)
        effect = await self._carry_out(lambda: self._tree.grant(ttl_s))
        return effect.last_lease

    async def keep_alive(self, lease: int) -> None:
        self._check_open()
        known = self._tree.leases.get(lease)
        if known is not None and not self._expiry.is_due(lease):
            self._expiry.renew(known)
            return
        await self._end_lease(lease)  # so that its keys are gone, as promised, when the caller hears of it
        raise NotFound(f"lease {lease} has ended", hint="get a new one")

    async def revoke(self, lease: int) -> None:
        self._check_open()
        await self._end_lease(lease)

    async def compact(self, revision: int) -> None:
        self._check_open()
        await self._carry_out(lambda: self._tree.compact(revision))

    async def _end_lease(self, lease: int) -> None:
        await self._carry_out(lambda: self._tree.end_lease(lease))

    # The writer

    async def _carry_out(self, plan: Callable[[], Effect]) -> Effect:
        """Queue ``plan`` and wait until its effect is durable and visible."""
        self._check_open()
        request = _Request(plan)
        self._queue.append(request)
        if self._writer is None:
            self._writer = asyncio.create_task(self._serve(), name="store writer")
        return await request.done

    async def _serve(self) -> None:
        try:
            while self._queue:
                request = self._queue.popleft()
                if not request.given_up():
                    await self._serve_one(request)
        except asyncio.CancelledError:
            # The event loop is being torn down. What the disk holds now is unknown, so nothing more may be
            # planned on this tree.
            self._refuse_everything(request)
            raise
        finally:
            self._writer = None

    async def _serve_one(self, request: _Request) -> None:
        try:
            effect = request.plan()
            await self._make_so(effect)
        except Exception as error:  # the caller's, whatever it is: the writer must go on
            request.fail(error)
            return
        request.succeed(effect)
        with suppress(WirtError):  # a disk that is full: the next request tries again
            await self._forget_old_history()

    async def _make_so(self, effect: Effect) -> None:
        if not self._tree.is_changed_by(effect):
            return
        await self._disk.write(effect)
        self._tree.apply(effect)
        if effect.granted is not None:
            self._expiry.start(effect.granted)
        if effect.ended is not None:
            self._expiry.stop(effect.ended)
        self._watches.publish(effect.changes)

    async def _forget_old_history(self) -> None:
        revision = self._tree.history_to_forget(self._keep_revisions, KEEP_BYTES)
        if revision is not None:
            await self._make_so(self._tree.compact(revision))

    # The end

    async def close(self) -> None:
        if self._closing is None:
            self._refuse_everything()
            self._closing = asyncio.create_task(self._shut_down(self._writer), name="store close")
        await asyncio.shield(self._closing)

    aclose = close  # for contextlib.aclosing

    def _refuse_everything(self, *interrupted: _Request) -> None:
        self._closed = True
        self._expiry.close()
        self._watches.close()
        for request in (*interrupted, *self._queue):
            request.fail(StoreClosed("the store was closed before this could be written"))
        self._queue.clear()

    async def _shut_down(self, writer: asyncio.Task[None] | None) -> None:
        if writer is not None:
            await asyncio.wait({writer})
        await self._disk.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("the store is closed")
