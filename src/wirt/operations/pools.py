"""The storage pools of this host, and who has which of their volumes: what the store says, held in memory, changed
only by transactions."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import PurePosixPath

from wirt.model.devices import DiskSpec
from wirt.model.errors import ConfigError, IllegalState, NameInUse, NotFound, StoreConflict, Unavailable
from wirt.model.storage import PoolConfig, PoolType, StoragePool, Volume, VolumeRef
from wirt.operations import records
from wirt.operations.volumes_holders import Holders
from wirt.ports.storage import Pool, Storage
from wirt.ports.store import Compare, Delete, Put, Store

DEFAULT_POOL = "default"
OPEN_S = 30.0
"""A server that is gone must not keep those waiting who ask for its pool."""


class Pools:
    """``home`` is the host's directory, in which the pool ``default`` lies; ``host`` its name."""

    def __init__(self, store: Store, storage: Storage | None, home: str, host: str) -> None:
        self._store = store
        self._storage = storage
        self._by_name: dict[str, StoragePool] = {}
        self._open: dict[str, Pool] = {}
        self._opening: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._active: dict[VolumeRef, Volume] = {}
        self._default = StoragePool(default_pool(storage, home))
        self.holders = Holders(store, host)

    async def load(self) -> None:
        """Read everything anew. ``CorruptState`` names the first record that can't be understood."""
        entries = (await self._store.list(records.POOLS)).entries
        self._by_name = {pool.name: pool for pool in map(records.read_pool, entries)}
        await self.holders.load()

    def __iter__(self) -> Iterator[StoragePool]:
        """By name, the default one first."""
        known = {DEFAULT_POOL: self._default, **self._by_name}
        return iter([known[name] for name in sorted(known, key=lambda name: (name != DEFAULT_POOL, name))])

    def names(self) -> frozenset[str]:
        return frozenset((DEFAULT_POOL, *self._by_name))

    def get(self, name: str) -> StoragePool | None:
        """One that was made: the default one is there without."""
        return self._by_name.get(name)

    def find(self, name: str) -> StoragePool:
        """``NotFound`` names those that are nearly called so."""
        pool = self._by_name.get(name, self._default if name == DEFAULT_POOL else None)
        if pool is None:
            close = get_close_matches(name, self.names(), n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else "wirt pool list shows all"
            raise NotFound(f"there is no storage pool {name}", hint=hint)
        return pool

    async def open(self, name: str) -> Pool:
        """The pool, ready to be used; it stays open. ``Unavailable`` if it can't be reached: nobody waits for that
        but those who want the same one."""
        record = self.find(name)
        async with self._opening[name]:
            pool = self._open.get(name)
            if pool is None:
                if record is self._default:
                    await self.storage.make(record.config)
                pool = self._open[name] = await self.try_open(record.config)
        return pool

    async def try_open(self, config: PoolConfig) -> Pool:
        """One that need not be recorded."""
        try:
            async with asyncio.timeout(OPEN_S):
                return await self.storage.open(config)
        except TimeoutError as error:
            raise Unavailable(
                f"pool {config.name} can't be reached: nothing came back for {OPEN_S:g} s",
                hint=f"is {config.source or config.target} there? wirt pool refresh {config.name} tries again",
            ) from error

    @property
    def storage(self) -> Storage:
        if self._storage is None:
            raise Unavailable("this host has no storage pools")
        return self._storage

    async def volume(self, ref: VolumeRef) -> Volume:
        return await (await self.open(ref.pool)).find(ref.volume)

    async def close(self, name: str) -> None:
        """Let go of it; the next :meth:`open` opens it anew."""
        async with self._opening[name]:
            pool = self._open.pop(name, None)
        if pool is not None:
            await pool.close()

    async def activate(self, ref: VolumeRef) -> Volume:
        """Ready to be opened on this host until :meth:`deactivate`."""
        volume = await (await self.open(ref.pool)).activate(ref.volume)
        self._active[ref] = volume
        return volume

    async def deactivate(self, ref: VolumeRef) -> None:
        """A pool that is gone holds nothing that could be let go of."""
        self._active.pop(ref, None)
        with contextlib.suppress(NotFound, Unavailable):
            await (await self.open(ref.pool)).deactivate(ref.volume)

    async def resolve(self, disks: Iterable[DiskSpec]) -> Mapping[str, Volume]:
        """What the targets of ``disks`` that name volumes lead to. ``ConfigError`` if there is none."""
        found: dict[str, Volume] = {}
        for disk in disks:
            if disk.volume is None or disk.target is None:
                continue
            ref = VolumeRef.parse(disk.volume)
            try:
                found[disk.target] = self._active.get(ref) or await self.volume(ref)
            except NotFound as error:
                hint = error.hint or f"wirt volume list {ref.pool}"
                raise ConfigError(error.message, key="disk", hint=hint) from error
        return found

    async def add(self, pool: StoragePool) -> StoragePool:
        """``NameInUse`` if there is one already: of two that come at once, one gets the name."""
        key = records.pool_key(pool.name)
        try:
            revision = await self._store.commit(Put(key, records.write_pool(pool)), when=(Compare(key, 0),))
        except StoreConflict as error:
            hint = f"choose another name; wirt pool info {pool.name} shows it"
            raise NameInUse(f"there is a storage pool {pool.name} already", hint=hint) from error
        return self._keep(replace(pool, revision=revision))

    async def change(self, before: StoragePool, *, leaving: bool) -> StoragePool:
        """``StoreConflict`` if someone else wrote it meanwhile."""
        key, after = records.pool_key(before.name), replace(before, leaving=leaving)
        revision = await self._store.commit(
            Put(key, records.write_pool(after)), when=(Compare(key, before.revision),)
        )
        return self._keep(replace(after, revision=revision))

    async def remove(self, name: str) -> None:
        """One that is not there is no error."""
        await self._store.commit(Delete(records.pool_key(name)))
        self._by_name.pop(name, None)

    def check_open_to_all(self, name: str) -> StoragePool:
        """``IllegalState`` if it is being destroyed."""
        pool = self.find(name)
        if pool.leaving:
            raise IllegalState(f"storage pool {name} is being destroyed", hint="wirt jobs shows how far that is")
        return pool

    def _keep(self, pool: StoragePool) -> StoragePool:
        self._by_name[pool.name] = pool
        return pool


def default_pool(storage: Storage | None, home: str) -> PoolConfig:
    """Files under the home; in memory where all pools are."""
    types = storage.types() if storage is not None else ()
    kind = PoolType.FAKE if PoolType.FAKE in types else PoolType.DIR
    return PoolConfig(DEFAULT_POOL, kind, str(PurePosixPath(home) / "volumes"))
