"""The snapshots of this host's domains: what the store says, held in memory, changed only by transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from uuid import UUID

from wirt.model.domain import Domain
from wirt.model.errors import NotFound
from wirt.model.snapshots import Snapshot, SnapshotTree
from wirt.operations import records_snapshots as records
from wirt.ports.store import Compare, Delete, Put, Store


class Snapshots:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._trees: dict[UUID, SnapshotTree] = {}

    async def load(self) -> None:
        """Read everything anew. ``CorruptState`` names the first record that can't be understood."""
        entries = (await self._store.list(records.SNAPSHOTS)).entries
        self._trees = {tree.domain: tree for tree in map(records.read_snapshots, entries)}

    def __iter__(self) -> Iterator[SnapshotTree]:
        return iter(list(self._trees.values()))

    def of(self, domain: UUID) -> SnapshotTree:
        return self._trees.get(domain, SnapshotTree(domain))

    def find(self, domain: Domain, name: str) -> Snapshot:
        """``NotFound`` names those that are nearly called so."""
        tree = self.of(domain.uuid)
        found = tree.get(name)
        if found is None:
            close = get_close_matches(name, [each.name for each in tree.snapshots], n=3, cutoff=0.5)
            hint = (
                f"did you mean {' or '.join(close)}?" if close else f"wirt snapshot list {domain.name} shows all"
            )
            raise NotFound(f"domain {domain.name} has no snapshot {name}", hint=hint)
        return found

    def holding(self, volume: str) -> UUID | None:
        """The domain of which a snapshot has the volume ``POOL/VOLUME``."""
        return next((tree.domain for tree in self if volume in tree.volumes()), None)

    async def change(self, domain: UUID, change: Callable[[SnapshotTree], SnapshotTree]) -> SnapshotTree:
        """``StoreConflict`` if someone else wrote it meanwhile. A tree in which nothing is left has no record."""
        before = self.of(domain)
        after = change(before)
        if after == before:
            return before
        key = records.snapshots_key(domain)
        empty = not after.snapshots and not after.left
        write = Delete(key) if empty else Put(key, records.write_snapshots(after))
        revision = await self._store.commit(write, when=(Compare(key, before.revision),))
        after = replace(after, revision=0 if empty else revision)
        self._trees[domain] = after
        if empty:
            del self._trees[domain]
        return after
