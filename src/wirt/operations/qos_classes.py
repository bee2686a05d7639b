"""The classes of service of this host: what the store says, held in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from uuid import UUID
from weakref import WeakValueDictionary

from wirt.model.domain import Domain, DomainConfig
from wirt.model.errors import NotFound
from wirt.model.qos import QosClass
from wirt.operations import records_qos as records
from wirt.plan.qos import effective
from wirt.ports.store import Compare, Delete, Put, Store


class QosClasses:
    def __init__(self, store: Store, host: str) -> None:
        self._store = store
        self._host = host
        self._classes: dict[str, QosClass] = {}
        self._revisions: dict[str, int] = {}
        self._holding: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self.lock = asyncio.Lock()
        """Held by whoever changes them, or lets a domain name one."""

    async def load(self) -> None:
        """Read everything anew. ``CorruptState`` names the first record that can't be understood."""
        entries = (await self._store.list(records.classes_prefix(self._host))).entries
        read = [(records.read_class_record(entry), entry.modified) for entry in entries]
        self._classes = {qos.name: qos for qos, _ in read}
        self._revisions = {qos.name: revision for qos, revision in read}

    def __iter__(self) -> Iterator[QosClass]:
        """By name."""
        return iter(sorted(self._classes.values(), key=lambda qos: qos.name))

    def get(self, name: str | None) -> QosClass | None:
        """``None`` as well of a name that is not known here: a domain may have come with it."""
        return None if name is None else self._classes.get(name)

    def find(self, name: str) -> QosClass:
        """``NotFound`` names those that exist."""
        if name in self._classes:
            return self._classes[name]
        close = get_close_matches(name, self._classes, n=3, cutoff=0.5)
        if close:
            hint = f"did you mean {' or '.join(close)}? wirt qos-class list shows all"
        elif self._classes:
            hint = f"there are {', '.join(sorted(self._classes)[:10])}; wirt qos-class list shows all"
        else:
            hint = f"there is none yet: wirt qos-class define {name} makes it"
        raise NotFound(f"there is no class of service {name}", hint=hint)

    async def put(self, qos: QosClass) -> None:
        """``StoreConflict`` if someone else wrote it meanwhile."""
        key = records.class_key(self._host, qos.name)
        when = (Compare(key, self._revisions.get(qos.name, 0)),)
        self._revisions[qos.name] = await self._store.commit(Put(key, records.write_class(qos)), when=when)
        self._classes[qos.name] = qos

    async def remove(self, name: str) -> None:
        """One that is gone already is no error."""
        if name not in self._classes:
            return
        key = records.class_key(self._host, name)
        await self._store.commit(Delete(key), when=(Compare(key, self._revisions[name]),))
        del self._classes[name], self._revisions[name]

    def effective(self, config: DomainConfig) -> DomainConfig:
        """``config`` with what its class adds."""
        return effective(config, self.get(config.qos))

    def of(self, domain: Domain) -> Domain:
        """``domain`` as it is held: not as it is written down."""
        return domain if domain.config.qos is None else replace(domain, config=self.effective(domain.config))

    def holding(self, domain: UUID) -> asyncio.Lock:
        """Held by whoever has read what a domain that runs is to have, until it is so: of two, the later one has
        read what is written down last."""
        return self._holding.setdefault(domain, asyncio.Lock())
