"""Who has which volume: records in the store, so that it also holds between hosts that share a pool.

A volume is claimed before it is opened and released after it was closed. Of two that claim one at once, the store
decides by compare-and-put.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wirt.model.errors import ResourceBusy, StoreConflict
from wirt.model.storage import Holder, VolumeRef
from wirt.operations import records
from wirt.ports.store import Compare, Delete, Entry, Put, Store

TRIES = 16
AT_ONCE = 100
"""Writes in one transaction; a store takes 128."""


class Holders:
    def __init__(self, store: Store, host: str) -> None:
        self._store = store
        self.host = host
        self._known: dict[VolumeRef, tuple[int, tuple[Holder, ...]]] = {}

    async def load(self) -> None:
        self._known.clear()
        for entry in (await self._store.list(records.VOLUMES)).entries:
            self._keep(_ref(entry.key), entry)

    def of(self, ref: VolumeRef) -> tuple[Holder, ...]:
        return self._known.get(ref, (0, ()))[1]

    def __iter__(self) -> Iterator[tuple[VolumeRef, Holder]]:
        for ref, (_, holders) in list(self._known.items()):
            for holder in holders:
                yield ref, holder

    def held_by(self, who: str) -> tuple[VolumeRef, ...]:
        """``who`` is a :attr:`Holder.who`."""
        return tuple(ref for ref, holder in self if holder.who == who)

    def in_pool(self, name: str) -> tuple[VolumeRef, ...]:
        """Those that are open. What a template keeps is not."""
        open_ones = (ref for ref, holder in self if ref.pool == name and not holder.template)
        return tuple(dict.fromkeys(open_ones))

    def check(self, ref: VolumeRef, wanted: Holder, names: Mapping[str, str]) -> None:
        """``ResourceBusy`` names who has it; ``names`` are what domains are called, by their UUIDs."""
        for holder in self.of(ref):
            if wanted.clashes(holder):
                raise _busy(ref, holder, names)

    async def claim(self, wanted: Mapping[VolumeRef, Holder], names: Mapping[str, str]) -> None:
        """All of ``wanted`` or none. Claiming again what one has is no error. ``ResourceBusy``."""
        for _ in range(TRIES):
            for ref, holder in wanted.items():
                self.check(ref, holder, names)
            writes: dict[VolumeRef, tuple[Holder, ...]] = {
                ref: (*(each for each in self.of(ref) if each.who != holder.who), holder)
                for ref, holder in wanted.items()
                if holder not in self.of(ref)
            }
            if not writes or await self._commit(writes):
                return
        raise ResourceBusy(f"{', '.join(map(str, wanted))}: others keep changing who has it", hint="try again")

    async def pass_on(self, ref: VolumeRef, who: str, to: Holder) -> None:
        """What ``who`` has is ``to``'s from now on, and nobody's in between. Repeating it is no error."""
        for _ in range(TRIES):
            if who not in {each.who for each in self.of(ref)}:
                return
            if await self._commit({ref: (*(each for each in self.of(ref) if each.who not in (who, to.who)), to)}):
                return
        raise ResourceBusy(f"volume {ref}: others keep changing who has it", hint="try again")

    async def release(self, who: str, refs: tuple[VolumeRef, ...] | None = None) -> tuple[VolumeRef, ...]:
        """``who`` has them no more (``None``: any at all); those that nobody of this host has now."""
        for _ in range(TRIES):
            held = [ref for ref in self.held_by(who) if refs is None or ref in refs][:AT_ONCE]
            writes = {ref: tuple(each for each in self.of(ref) if each.who != who) for ref in held}
            if not writes:
                return ()
            if await self._commit(writes):
                free = tuple(ref for ref in held if not any(each.host == self.host for each in self.of(ref)))
                rest = await self.release(who, refs) if len(held) == AT_ONCE else ()
                return free + rest
        raise ResourceBusy(f"{who} can't be released: others keep changing the records", hint="try again")

    async def _commit(self, holders: Mapping[VolumeRef, tuple[Holder, ...]]) -> bool:
        """Whether nobody else wrote meanwhile; if so, what he wrote is known now."""
        writes: list[Put | Delete] = []
        when = []
        for ref, now in holders.items():
            key = records.volume_key(ref)
            writes.append(Put(key, records.write_holders(now)) if now else Delete(key))
            when.append(Compare(key, self._known.get(ref, (0, ()))[0]))
        try:
            revision = await self._store.commit(*writes, when=tuple(when))
        except StoreConflict:
            for ref in holders:
                self._keep(ref, await self._store.get(records.volume_key(ref)))
            return False
        for ref, now in holders.items():
            if now:
                self._known[ref] = (revision, now)
            else:
                self._known.pop(ref, None)
        return True

    def _keep(self, ref: VolumeRef, entry: Entry | None) -> None:
        if entry is None:
            self._known.pop(ref, None)
        else:
            self._known[ref] = (entry.modified, records.read_holders(entry))


def _ref(key: str) -> VolumeRef:
    return VolumeRef.parse(key.removeprefix(records.VOLUMES))


def _busy(ref: VolumeRef, holder: Holder, names: Mapping[str, str]) -> ResourceBusy:
    where = f" on {holder.host}"
    if holder.domain is None:
        return ResourceBusy(
            f"volume {ref} is in use by job {holder.job}{where}", hint="wirt jobs shows how far it is"
        )
    name = names.get(holder.domain)
    if holder.template:
        return ResourceBusy(
            f"volume {ref} is a disk of the template {name or holder.domain}, and stays as it is",
            hint=f"wirt clone {name or holder.domain} NEW makes a domain with a disk of its own",
        )
    if name is None:
        return ResourceBusy(f"volume {ref} is in use by domain {holder.domain}{where}", hint="end it there first")
    return ResourceBusy(
        f"volume {ref} is a disk of domain {name}, which runs",
        hint=f"wirt shutdown {name} first, or give this domain a copy: wirt volume copy",
    )
