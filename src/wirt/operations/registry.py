"""The domains of this host: what the store says, held in memory, changed only by transactions.

Reading never waits. Writing compares with the revision that was read, so of two writers one is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

from wirt.model.domain import Domain, DomainConfig, Incarnation
from wirt.model.errors import IllegalState, NameInUse, NotFound, StoreConflict
from wirt.model.lifecycle import EndReason, State, move
from wirt.operations import records
from wirt.ports.store import Compare, Delete, Put, Store

LONGEST_DOMID = 18
"""Digits. Python refuses to read a number with thousands of them, and no domain gets that far."""


class Domains:
    """All domains that this host owns. ``host`` is its name in the store."""

    def __init__(self, store: Store, host: str) -> None:
        self._store = store
        self._host = host
        self._by_uuid: dict[UUID, Domain] = {}
        self._uuids: dict[str, UUID] = {}
        self._domids: dict[int, UUID] = {}

    async def load(self) -> None:
        """Read everything anew. ``CorruptState`` names the first record that can't be understood."""
        self._by_uuid.clear()
        self._uuids.clear()
        self._domids.clear()
        for entry in (await self._store.list(records.DOMAINS)).entries:
            self._keep(records.read_domain(entry))
        for entry in (await self._store.list(records.INCARNATIONS)).entries:
            incarnation = records.read_incarnation(entry)
            if incarnation.domain in self._by_uuid:
                self._keep(replace(self._by_uuid[incarnation.domain], incarnation=incarnation))

    def __iter__(self) -> Iterator[Domain]:
        """Those with a domid in its order, then the others by name."""
        last = float("inf")
        return iter(sorted(self._by_uuid.values(), key=lambda d: (d.domid or last, d.name)))

    def __len__(self) -> int:
        return len(self._by_uuid)

    def get(self, uuid: UUID) -> Domain | None:
        return self._by_uuid.get(uuid)

    def named(self, name: str) -> Domain | None:
        uuid = self._uuids.get(name)
        return self._by_uuid[uuid] if uuid else None

    def find(self, ref: str) -> Domain:
        """By domid, name or UUID, in xl's order. ``NotFound`` says how to see which there are; a template is none:
        ``IllegalState``."""
        domain = self.find_any(ref)
        if domain.template:
            raise IllegalState(
                f"{domain.name} is a template, which only serves to make domains of",
                hint=f"wirt clone {domain.name} NEW makes one; wirt template to-domain {domain.name} makes it one",
            )
        return domain

    def find_any(self, ref: str) -> Domain:
        """A domain or a template."""
        domid = int(ref) if ref.isdecimal() and len(ref) <= LONGEST_DOMID else 0
        if domid in self._domids:
            return self._by_uuid[self._domids[domid]]
        uuid = _uuid(ref)
        domain = self.named(ref) or (self._by_uuid.get(uuid) if uuid is not None else None)
        if domain is None:
            raise NotFound(f"there is no domain {ref}", hint="wirt list --all shows which there are")
        return domain

    async def add(self, domain: Domain) -> Domain:
        """``NameInUse`` if the name or the UUID is taken: of two that come at once, one gets it."""
        key, name = records.domain_key(domain.uuid), records.name_key(domain.name)
        try:
            revision = await self._store.commit(
                Put(key, records.write_domain(domain)),
                Put(name, str(domain.uuid).encode()),
                when=(Compare(name, 0), Compare(key, 0)),
            )
        except StoreConflict as error:
            what = f"called {domain.name}" if error.key == name else f"with the UUID {domain.uuid}"
            raise NameInUse(
                f"there is a domain {what} already", hint="choose another, or wirt destroy it first"
            ) from error
        return self._keep(replace(domain, revision=revision))

    async def change(self, uuid: UUID, **changes: Any) -> Domain:
        """Fields of the durable record. ``StoreConflict`` if someone else wrote it meanwhile."""
        before = self._known(uuid)
        after = replace(before, **changes)
        writes: list[Put | Delete] = [Put(records.domain_key(uuid), records.write_domain(after))]
        when = [Compare(records.domain_key(uuid), before.revision)]
        if after.name != before.name:
            writes += [
                Put(records.name_key(after.name), str(uuid).encode()),
                Delete(records.name_key(before.name)),
            ]
            when.append(Compare(records.name_key(after.name), 0))
        try:
            revision = await self._store.commit(*writes, when=tuple(when))
        except StoreConflict as error:
            if error.key == records.name_key(after.name):
                raise NameInUse(f"there is a domain called {after.name} already") from error
            raise
        # The run may have moved on while the commit was under way: keep what is known of it now.
        current = self._known(uuid)
        self._uuids.pop(before.name, None)
        return self._keep(replace(after, incarnation=current.incarnation, revision=revision))

    async def remove(self, uuid: UUID) -> None:
        """One that is not there is no error."""
        key, domain = records.domain_key(uuid), self._by_uuid.get(uuid)
        names = set()
        while domain is not None:
            names.add(domain.name)
            try:
                await self._store.commit(
                    Delete(key),
                    Delete(records.name_key(domain.name)),
                    Delete(records.incarnation_key(uuid)),
                    when=(Compare(key, domain.revision),),
                )
                break
            except StoreConflict:
                # Somebody has just renamed it, say, and will be told that it is gone: its name of now must go.
                entry = await self._store.get(key)
                domain = records.read_domain(entry) if entry is not None else None
        known = self._by_uuid.get(uuid, domain)
        if known is not None:
            self._forget(known)
        for name in names:
            self._uuids.pop(name, None)

    async def start_run(self, incarnation: Incarnation) -> Domain:
        """Record a run that exists. ``NotFound`` if the domain has gone meanwhile: a run is never recorded without
        its domain."""
        domain = self._known(incarnation.domain)
        await self._store.commit(
            Put(records.incarnation_key(incarnation.domain), records.write_incarnation(incarnation)),
            when=(Compare(records.domain_key(domain.uuid), domain.revision),),
        )
        return self._keep(replace(self._known(incarnation.domain), incarnation=incarnation))

    async def replace_run(self, old: Incarnation, new: Incarnation) -> Domain:
        """``new`` is the domain's run from here on, in one transaction, if ``old`` is until then. ``IllegalState``
        if it is not: then nothing is changed."""
        key = records.incarnation_key(old.domain)
        entry = await self._store.get(key)
        domain = self._known(old.domain)
        if entry is None or records.read_incarnation(entry).domid != old.domid or domain.domid != old.domid:
            raise IllegalState(f"run {old.domid} of domain {domain.name} was over already")
        put = Put(key, records.write_incarnation(new))
        try:
            await self._store.commit(put, when=(Compare(key, entry.modified),))
        except StoreConflict as error:
            raise IllegalState(f"the run of domain {domain.name} was changed by another at that moment") from error
        self._domids.pop(old.domid, None)
        return self._keep(replace(self._known(old.domain), incarnation=new))

    async def reconfigure(self, uuid: UUID, *, config: DomainConfig, text: str, notes: dict[str, str]) -> Domain:
        """A changed configuration, and the notes of the run that was changed with it, in one transaction.
        ``StoreConflict`` if someone else wrote the domain meanwhile."""
        before = self._known(uuid)
        after = replace(before, config=config, text=text)
        writes: list[Put | Delete] = [Put(records.domain_key(uuid), records.write_domain(after))]
        run = before.incarnation
        if run is not None:
            noted = records.write_incarnation(replace(run, notes=notes))
            writes.append(Put(records.incarnation_key(uuid), noted))
        revision = await self._store.commit(*writes, when=(Compare(records.domain_key(uuid), before.revision),))
        current = self._known(uuid).incarnation
        if current is not None and run is not None and current.domid == run.domid:
            current = replace(current, notes=notes)
        return self._keep(replace(after, incarnation=current, revision=revision))

    async def keep_run(self, uuid: UUID, copy: Domain) -> Domain:
        """Make the run of ``uuid`` that of ``copy``, a new domain, in one transaction: it belongs to one of them
        at every moment. ``copy`` carries its incarnation. ``NameInUse`` as for ``add``."""
        assert copy.incarnation is not None
        name, key = records.name_key(copy.name), records.domain_key(copy.uuid)
        try:
            revision = await self._store.commit(
                Put(key, records.write_domain(copy)),
                Put(name, str(copy.uuid).encode()),
                Put(records.incarnation_key(copy.uuid), records.write_incarnation(copy.incarnation)),
                Delete(records.incarnation_key(uuid)),
                when=(Compare(name, 0), Compare(key, 0)),
            )
        except StoreConflict as error:
            raise NameInUse(f"there is a domain called {copy.name} already") from error
        self._by_uuid[uuid] = replace(self._known(uuid), incarnation=None)
        return self._keep(replace(copy, revision=revision))

    async def end_run(self, uuid: UUID) -> None:
        await self._store.commit(Delete(records.incarnation_key(uuid)))
        domain = self._by_uuid.get(uuid)
        if domain is not None:
            self._domids.pop(domain.domid or 0, None)
            self._by_uuid[uuid] = replace(domain, incarnation=None)

    def observe(self, uuid: UUID, state: State, end: EndReason | None = None, message: str = "") -> Domain:
        """What the run is doing now; nothing is written. ``IllegalState`` for a move that no run can make: then
        whoever told of it meant another run."""
        domain = self._known(uuid)
        if domain.incarnation is None:
            return domain
        move(domain.name, domain.state, state)
        return self._keep(
            replace(domain, incarnation=replace(domain.incarnation, state=state, end=end, message=message))
        )

    async def likely_domid(self) -> int:
        """What ``next_domid`` would give now; nobody is promised it."""
        entry = await self._store.get(records.domid_key(self._host))
        return int(entry.value) + 1 if entry else 1

    async def next_domid(self) -> int:
        """Numbers grow and are never given twice, as Xen's are."""
        key = records.domid_key(self._host)
        while True:
            entry = await self._store.get(key)
            number = int(entry.value) + 1 if entry else 1
            try:
                await self._store.commit(
                    Put(key, records.write_number(number)),
                    when=(Compare(key, entry.modified if entry else 0),),
                )
            except StoreConflict:
                continue
            return number

    def _known(self, uuid: UUID) -> Domain:
        try:
            return self._by_uuid[uuid]
        except KeyError:
            raise NotFound(f"domain {uuid} is gone") from None

    def _keep(self, domain: Domain) -> Domain:
        self._by_uuid[domain.uuid] = domain
        self._uuids[domain.name] = domain.uuid
        if domain.domid is not None:
            self._domids[domain.domid] = domain.uuid
        return domain

    def _forget(self, domain: Domain) -> None:
        self._by_uuid.pop(domain.uuid, None)
        self._uuids.pop(domain.name, None)
        self._domids.pop(domain.domid or 0, None)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
