"""The pools of CPUs of this host: what the store says, held in memory. Pool-0, which has all others, is not
written down."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from difflib import get_close_matches

from wirt.model.errors import NotFound
from wirt.operations import records_cpu_pools as records
from wirt.plan.distribute import POOL_0
from wirt.ports.store import Compare, Delete, Put, Store


class CpuPools:
    def __init__(self, store: Store, host: str) -> None:
        self._store = store
        self._host = host
        self._pools: dict[str, frozenset[int]] = {}
        self._revisions: dict[str, int] = {}
        self.lock = asyncio.Lock()
        """Held by whoever changes them."""

    async def load(self) -> None:
        """Read everything anew. ``CorruptState`` names the first record that can't be understood."""
        entries = (await self._store.list(records.cpu_pools_prefix(self._host))).entries
        read = [(*records.read_cpu_pool(entry), entry.modified) for entry in entries]
        self._pools = {name: cpus for name, cpus, _ in read}
        self._revisions = {name: revision for name, _, revision in read}

    @property
    def all(self) -> Mapping[str, frozenset[int]]:
        """By name, without Pool-0."""
        return dict(self._pools)

    def check(self, name: str) -> None:
        """``NotFound`` names those that are nearly called so. Pool-0 always is."""
        if name != POOL_0 and name not in self._pools:
            close = get_close_matches(name, [POOL_0, *self._pools], n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else "wirt cpupool-list shows all"
            raise NotFound(f"there is no CPU pool {name}", hint=hint)

    async def put(self, name: str, cpus: frozenset[int]) -> None:
        """``StoreConflict`` if someone else wrote it meanwhile."""
        key = records.cpu_pool_key(self._host, name)
        when = (Compare(key, self._revisions.get(name, 0)),)
        self._revisions[name] = await self._store.commit(Put(key, records.write_cpu_pool(name, cpus)), when=when)
        self._pools[name] = cpus

    async def remove(self, name: str) -> None:
        key = records.cpu_pool_key(self._host, name)
        await self._store.commit(Delete(key), when=(Compare(key, self._revisions.get(name, 0)),))
        self._pools.pop(name, None)
        self._revisions.pop(name, None)
