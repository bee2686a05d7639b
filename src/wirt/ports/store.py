"""The key-value tree that holds all durable state: SQLite on one host, etcd in a cluster, memory in tests.

Shaped after etcd's v3 API (https://etcd.io/docs/v3.4/learning/api/): one revision counter for the whole
store, grown by one with every committed transaction that writes; compare-and-put transactions; watches from a
revision; leases whose keys go with them. Everything in it must be promised by all three.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """``created`` and ``modified`` are store revisions, ``version`` counts the puts since ``created``.
    ``lease`` is the lease the key dies with, or ``None``."""

    key: str
    value: bytes
    created: int
    modified: int
    version: int
    lease: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All entries under a prefix, sorted by key, as of one ``revision``: watch from there to miss nothing."""

    revision: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """True if ``key`` was last modified at ``modified``; 0 means: the key does not exist."""

    key: str
    modified: int


@dataclass(frozen=True, slots=True)
class Put:
    key: str
    value: bytes
    lease: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    key: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a watch sees: ``entry`` after the change, or ``None`` when ``key`` was deleted (by a transaction,
    or because its lease ended)."""

    key: str
    revision: int
    entry: Entry | None


class Watch(Protocol):
    """A position in the history of a :class:`Store`, to be read by one task at a time with ``async for``."""

    def __aiter__(self) -> Watch: ...

    async def __anext__(self) -> tuple[Change, ...]:
        """The next transaction's changes under the prefix, in the order of their keys; waits for it if need
        be. A wait that is cancelled (by a deadline, say) loses nothing: the next call gives what it would have
        given. ``Compacted`` if changes after the position are gone: to make sure of that, a reader who fell
        behind may be told so even if none of them was under the prefix. ``StoreClosed`` when the store closes.
        """
        ...

    async def aclose(self) -> None:
        """End the watch; whoever waits for it sees ``StopAsyncIteration``. Again is no error."""
        ...


class Store(Protocol):
    """Keys are ``/``-separated text without empty or ``..`` parts or control characters, at most 512 bytes of
    UTF-8; values at most 1 MiB. Keys are sorted by code point (which is UTF-8's order, so etcd's).

    The revision of a store that was never written to is 1, as etcd's. Reads see every commit that was
    acknowledged before they were asked for.

    Errors: :class:`~wirt.model.errors.StoreConflict` (a comparison failed, nothing written), ``StoreClosed``,
    ``Compacted``, ``CorruptState`` (the file can't be read; it is left as it is), ``Shortage`` (the disk is
    full or fails; nothing written; works again when there is room), ``NotFound`` (an unknown or ended lease),
    ``BadInput`` (a key, prefix, value, lease time or transaction that can't be; checked before all else).
    """

    async def get(self, key: str) -> Entry | None: ...

    async def list(self, prefix: str) -> Snapshot:
        """Entries whose key starts with ``prefix`` (plain text: end it with ``/`` to mean a directory; empty
        means all). A prefix that no key can start with (``/domains``) is ``BadInput``."""
        ...

    async def commit(self, *writes: Put | Delete, when: tuple[Compare, ...] = ()) -> int:
        """Apply all writes in one transaction if all comparisons hold; the revision after it. What has been
        acknowledged survives a power cut.

        A transaction that changes nothing (deletes of absent keys, no writes) leaves the revision as it was; a
        put of the same value is a change. A put without a lease takes the key off the lease it was on. At most
        128 writes, 128 comparisons, and values of 1 MiB in all (etcd's limits); a key may be written once only.
        If a comparison fails that is the error, even if a lease is unknown too.

        Transactions take effect in the order in which they were asked for. If the calling task is cancelled, the
        transaction has happened as a whole or not at all; only reading tells which."""
        ...

    def watch(self, prefix: str, after: int) -> Watch:
        """Every change under ``prefix`` (as in :meth:`list`) with a revision greater than ``after``, in order,
        each transaction's changes together; then waits for more. ``after`` may lie in the future. Any number of
        watches may run at once, and one that nobody reads costs nothing. 0 means all changes there ever
        were. For etcd's adapter: ask from revision ``max(after, 1)`` and drop that one, since etcd calls a watch
        compacted only if it starts *before* the compacted revision, although that revision's deletions may be
        gone, and takes 0 for now."""
        ...

    async def grant(self, ttl_s: int) -> int:
        """A new lease that ends ``ttl_s`` (whole seconds, at least 2) from now unless it is kept alive. Its
        number has never been used before. It never ends early; it may end late: its time starts anew when the
        store is restarted (with etcd: when the leader changes), and etcd looks only twice a second. All keys
        of a lease are deleted in one transaction."""
        ...

    async def keep_alive(self, lease: int) -> None:
        """Give ``lease`` its full time again. ``NotFound`` if it has ended: its keys are gone."""
        ...

    async def revoke(self, lease: int) -> None:
        """End ``lease`` now and delete its keys (one transaction). An unknown lease is no error."""
        ...

    async def compact(self, revision: int) -> None:
        """Forget changes up to and including ``revision``; current entries stay. Afterwards a watch with a
        smaller ``after`` is ``Compacted``. Doing so again is no error; a revision that is still to come is
        ``BadInput``. Stores also compact by themselves, so that history can't grow for ever."""
        ...

    async def close(self) -> None:
        """Let the commit in progress finish, then refuse everything (running watches, queued commits, later
        calls) with ``StoreClosed``. Leases go on: their time starts anew when the store is opened again. Again
        is no error."""
        ...
