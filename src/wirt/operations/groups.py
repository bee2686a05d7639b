"""The security groups of this host: what the store says, held in memory, changed only by transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from wirt.model.errors import NameInUse, NotFound, StoreConflict
from wirt.model.security import SecurityGroup
from wirt.operations import records
from wirt.ports.store import Compare, Delete, Put, Store


@dataclass(frozen=True, slots=True)
class Kept:
    """A group as it is stored."""

    group: SecurityGroup
    revision: int


class SecurityGroups:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_name: dict[str, Kept] = {}
        self.lock = asyncio.Lock()
        """Held by whoever changes them."""

    async def load(self) -> None:
        """Read everything anew. ``CorruptState`` names the first record that can't be understood."""
        entries = (await self._store.list(records.SECURITY_GROUPS)).entries
        read = [Kept(records.read_security_group(entry), entry.modified) for entry in entries]
        self._by_name = {kept.group.name: kept for kept in read}

    def __iter__(self) -> Iterator[SecurityGroup]:
        """By name."""
        return iter(tuple(self._by_name[name].group for name in sorted(self._by_name)))

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._by_name)

    def find(self, name: str) -> SecurityGroup:
        """``NotFound`` names those that are nearly called so."""
        return self.kept(name).group

    def kept(self, name: str) -> Kept:
        if name not in self._by_name:
            raise NotFound(f"there is no security group {name}", hint=near(name, self.names))
        return self._by_name[name]

    async def put(self, group: SecurityGroup, before: Kept | None) -> Kept:
        """Write ``group`` in the place of ``before``, or as a new one. ``NameInUse`` if there is one already,
        ``StoreConflict`` if someone else wrote it meanwhile."""
        key = records.security_group_key(group.name)
        revision = before.revision if before is not None else 0
        try:
            written = await self._store.commit(
                Put(key, records.write_security_group(group)), when=(Compare(key, revision),)
            )
        except StoreConflict as error:
            if before is None:
                raise NameInUse(
                    f"there is a security group {group.name} already",
                    hint=f"choose another name, or: wirt security-group set {group.name} --allow RULE ...",
                ) from error
            raise
        kept = self._by_name[group.name] = Kept(group, written)
        return kept

    async def remove(self, kept: Kept) -> None:
        """``StoreConflict`` if someone else wrote it meanwhile."""
        key = records.security_group_key(kept.group.name)
        await self._store.commit(Delete(key), when=(Compare(key, kept.revision),))
        self._by_name.pop(kept.group.name, None)


def near(name: str, names: frozenset[str]) -> str:
    """A hint for whoever asked for a group that is not there."""
    close = get_close_matches(name, sorted(names), n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return "wirt security-group list shows all" if names else "wirt security-group create makes one"
