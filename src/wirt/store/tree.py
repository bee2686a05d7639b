"""The store as a pure state machine: no I/O, no clock, no waiting.

A request is first *planned* (``transact``, ``grant``, ``end_lease``, ``compact``): that changes nothing and gives
an :class:`Effect`, or the error that the request deserves. The effect can then be written to a disk, and only
when it is safe there is it *applied*. Planning the next request before that would be wrong, so requests are
served one at a time (see ``local``).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from wirt.model.errors import BadInput, Compacted, NotFound, StoreConflict
from wirt.ports.store import Change, Compare, Delete, Entry, Put, Snapshot

FIRST_REVISION = 1


class Lease(NamedTuple):
    number: int
    ttl_s: int


class Row(NamedTuple):
    """Names one change for ever: a key is written at most once in a revision."""

    revision: int
    key: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What a request does to a tree: the numbers as they are afterwards, and the difference.

    ``obsolete`` is for whoever keeps changes on a disk: neither the history nor the current entries need these
    any more.
    """

    revision: int
    compacted: int
    last_lease: int
    changes: tuple[Change, ...] = ()
    obsolete: tuple[Row, ...] = ()
    granted: Lease | None = None
    ended: int | None = None


class Tree:
    """Current entries, leases, and the history after ``compacted``."""

    def __init__(self) -> None:
        self.revision = FIRST_REVISION
        self.compacted = FIRST_REVISION
        self.last_lease = 0
        self.leases: dict[int, Lease] = {}
        self._entries: dict[str, Entry] = {}
        self._sorted_keys: list[str] = []
        self._lease_keys: dict[int, set[str]] = {}
        self._history: list[tuple[Change, ...]] = []  # one item a revision, from compacted + 1 on
        self._history_bytes = 0

    @classmethod
    def restored(
        cls, *, revision: int, compacted: int, last_lease: int, leases: Iterable[Lease], rows: Iterable[Change]
    ) -> Tree:
        """The tree whose effects left these ``rows`` (in order, without the obsolete ones).

        Raises ``ValueError``, saying what does not fit together, if no tree can have left them.
        """
        tree = cls()
        tree.revision, tree.compacted, tree.last_lease = revision, compacted, last_lease
        for lease in leases:
            tree.leases[lease.number] = lease
            tree._lease_keys[lease.number] = set()
        reached = compacted
        for at, group in groupby(rows, attrgetter("revision")):
            changes = tuple(group)
            if at > compacted:
                if at != reached + 1:
                    raise ValueError(f"revision {at} follows {reached}")
                reached = at
                tree._remember(changes)
            for change in changes:
                tree._set_entry(change)
        if reached != revision:
            raise ValueError(f"the last revision is {revision}, but changes end at {reached}")
        tree._check_leases()
        return tree

    # Questions

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def list(self, prefix: str) -> Snapshot:
        return Snapshot(self.revision, tuple(self._entries[key] for key in self._keys_under(prefix)))

    def next_changes(self, prefix: str, after: int) -> tuple[Change, ...]:
        """Those of the first transaction later than ``after`` that has any under ``prefix``; may be none.

        Raises ``Compacted`` if history no longer goes back that far.
        """
        after = max(after, FIRST_REVISION)  # there are no earlier changes that one could miss
        if after < self.compacted:
            raise Compacted(self.compacted + 1)
        for revision in range(after + 1, self.revision + 1):
            changes = under(prefix, self._history[revision - self.compacted - 1])
            if changes:
                return changes
        return ()

    def history_to_forget(self, keep_revisions: int, keep_bytes: int) -> int | None:
        """The revision to compact at so that no more than the newest ``keep_revisions`` stay, with values of
        ``keep_bytes`` in all. ``None`` while that is exceeded by less than a tenth: it pays to forget in bulk.
        """
        if (
            len(self._history) <= keep_revisions + keep_revisions // 10
            and self._history_bytes <= keep_bytes + keep_bytes // 10
        ):
            return None
        forget = max(0, len(self._history) - keep_revisions)
        left = self._history_bytes - sum(map(_size, self._history[:forget]))
        while left > keep_bytes:
            left -= _size(self._history[forget])
            forget += 1
        return self.compacted + forget

    def is_changed_by(self, effect: Effect) -> bool:
        return bool(effect.changes or effect.granted or effect.ended) or effect.compacted != self.compacted

    # Plans

    def transact(self, writes: Sequence[Put | Delete], when: Sequence[Compare]) -> Effect:
        """``StoreConflict`` if a comparison fails, ``NotFound`` for a put on an unknown lease."""
        for comparison in when:
            self._compare(comparison)
        changes = []
        for write in sorted(writes, key=attrgetter("key")):
            if isinstance(write, Put):
                changes.append(self._planned_put(write))
            elif write.key in self._entries:
                changes.append(Change(write.key, self.revision + 1, None))
        return self._effect(changes=tuple(changes))

    def grant(self, ttl_s: int) -> Effect:
        return self._effect(granted=Lease(self.last_lease + 1, ttl_s))

    def end_lease(self, lease: int) -> Effect:
        """An effect that does nothing if there is no such lease."""
        if lease not in self.leases:
            return self._effect()
        keys = sorted(self._lease_keys[lease])
        return self._effect(changes=tuple(Change(key, self.revision + 1, None) for key in keys), ended=lease)

    def compact(self, revision: int) -> Effect:
        """``BadInput`` for a revision that is still to come; nothing to do for one compacted already."""
        if revision > self.revision:
            raise BadInput(f"can't compact at revision {revision}: the store is at {self.revision}")
        if revision <= self.compacted:
            return self._effect()
        forgotten = self._history[: revision - self.compacted]
        obsolete = tuple(
            Row(change.revision, change.key)
            for changes in forgotten
            for change in changes
            if not self._is_current(change)
        )
        return self._effect(compacted=revision, obsolete=obsolete)

    def _effect(
        self,
        *,
        changes: tuple[Change, ...] = (),
        compacted: int | None = None,
        obsolete: tuple[Row, ...] = (),
        granted: Lease | None = None,
        ended: int | None = None,
    ) -> Effect:
        return Effect(
            revision=self.revision + 1 if changes else self.revision,
            compacted=self.compacted if compacted is None else compacted,
            last_lease=self.last_lease if granted is None else granted.number,
            changes=changes,
            obsolete=(*obsolete, *self._replaced_outside_history(changes)),
            granted=granted,
            ended=ended,
        )

    def _compare(self, comparison: Compare) -> None:
        entry = self._entries.get(comparison.key)
        found = 0 if entry is None else entry.modified
        if found == comparison.modified:
            return
        if found == 0:
            message = f"{comparison.key} is gone (it was expected at revision {comparison.modified})"
        elif comparison.modified == 0:
            message = f"{comparison.key} exists already (since revision {found})"
        else:
            message = f"{comparison.key} has changed (revision {found}, not {comparison.modified})"
        raise StoreConflict(comparison.key, message)

    def _planned_put(self, put: Put) -> Change:
        if put.lease is not None and put.lease not in self.leases:
            raise NotFound(f"there is no lease {put.lease} for {put.key}", hint="it may have ended")
        revision = self.revision + 1
        before = self._entries.get(put.key)
        created, version = (revision, 1) if before is None else (before.created, before.version + 1)
        return Change(put.key, revision, Entry(put.key, put.value, created, revision, version, put.lease))

    def _replaced_outside_history(self, changes: tuple[Change, ...]) -> Iterator[Row]:
        for change in changes:
            before = self._entries.get(change.key)
            if before is not None and before.modified <= self.compacted:
                yield Row(before.modified, change.key)

    def _is_current(self, change: Change) -> bool:
        entry = self._entries.get(change.key)
        return entry is not None and entry.modified == change.revision

    # Changes

    def apply(self, effect: Effect) -> None:
        """``effect`` must have been planned on this tree, with no other applied since."""
        for change in effect.changes:
            self._set_entry(change)
        if effect.changes:
            self._remember(effect.changes)
        forgotten = effect.compacted - self.compacted
        self._history_bytes -= sum(map(_size, self._history[:forgotten]))
        del self._history[:forgotten]
        if effect.granted is not None:
            self.leases[effect.granted.number] = effect.granted
            self._lease_keys[effect.granted.number] = set()
        if effect.ended is not None:
            del self.leases[effect.ended], self._lease_keys[effect.ended]
        self.revision = effect.revision
        self.compacted = effect.compacted
        self.last_lease = effect.last_lease

    def _set_entry(self, change: Change) -> None:
        before = self._entries.get(change.key)
        if before is not None and before.lease in self._lease_keys:
            self._lease_keys[before.lease].discard(change.key)
        entry = change.entry
        if entry is None:
            if before is not None:
                del self._entries[change.key]
                del self._sorted_keys[bisect_left(self._sorted_keys, change.key)]
            return
        if before is None:
            insort(self._sorted_keys, change.key)
        self._entries[change.key] = entry
        # While history is being replayed an entry may name a lease that ended later.
        if entry.lease in self._lease_keys:
            self._lease_keys[entry.lease].add(change.key)

    def _remember(self, changes: tuple[Change, ...]) -> None:
        self._history.append(changes)
        self._history_bytes += _size(changes)

    def _check_leases(self) -> None:
        if max(self.leases, default=0) > self.last_lease:
            raise ValueError(f"lease {max(self.leases)} is newer than the newest, {self.last_lease}")
        for entry in self._entries.values():
            if entry.lease is not None and entry.lease not in self.leases:
                raise ValueError(f"{entry.key} is on lease {entry.lease}, which there is not")

    def _keys_under(self, prefix: str) -> Iterator[str]:
        for position in range(bisect_left(self._sorted_keys, prefix), len(self._sorted_keys)):
            key = self._sorted_keys[position]
            if not key.startswith(prefix):
                return
            yield key


def under(prefix: str, changes: tuple[Change, ...]) -> tuple[Change, ...]:
    return tuple(change for change in changes if change.key.startswith(prefix))


def _size(changes: tuple[Change, ...]) -> int:
    return sum(len(change.entry.value) for change in changes if change.entry is not None)
