"""A store that lives as long as its process: for tests and simulation."""

from __future__ import annotations

from wirt.ports.clock import Clock
from wirt.store.local import KEEP_REVISIONS, LocalStore
from wirt.store.tree import Effect, Tree


class MemoryStore(LocalStore):
    """A :class:`wirt.ports.store.Store` without a disk; see there for what it promises."""

    def __init__(self, clock: Clock, *, keep_revisions: int = KEEP_REVISIONS) -> None:
        super().__init__(clock, Tree(), _NoDisk(), keep_revisions=keep_revisions)


class _NoDisk:
    async def write(self, effect: Effect) -> None:
        pass

    async def close(self) -> None:
        pass
