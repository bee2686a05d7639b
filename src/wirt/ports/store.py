"""The key-value tree that holds all durable state: SQLite on one host, etcd in a cluster, memory in tests.

Shaped after etcd's v3 API (https://etcd.io/docs/v3.4/learning/api/): one revision counter for the whole
store, grown by one with every committed transaction that writes; compare-and-put transactions; watches from a
revision; leases whose keys go with them. Everything in it must be promised by all three.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
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


class Store(Protocol):
    """Keys are ``/``-separated text without empty or ``..`` parts, at most 512 bytes; values at most 1 MiB.

    Errors: :class:`~wirt.model.errors.StoreConflict` (a comparison failed, nothing written), ``StoreClosed``,
    ``Compacted``, ``CorruptState`` (the file can't be read; it is left as it is), ``Shortage`` (the disk is
    full; nothing written), ``NotFound`` (an unknown or ended lease), ``BadInput`` (a key or value that can't be).
    """

    async def get(self, key: str) -> Entry | None: ...

    async def list(self, prefix: str) -> Snapshot:
        """Entries whose key starts with ``prefix`` (plain text: end it with ``/`` to mean a directory)."""
        ...

    async def commit(self, *writes: Put | Delete, when: tuple[Compare, ...] = ()) -> int:
        """Apply all writes in one transaction if all comparisons hold; the new revision. A transaction that
        changes nothing (deletes of absent keys, no writes) leaves the revision as it was. A key may be
        written once only in a transaction."""
        ...

    def watch(self, prefix: str, after: int) -> AsyncIterator[tuple[Change, ...]]:
        """Every change under ``prefix`` with a revision greater than ``after``, in order, each transaction's
        changes together; then waits for more. Raises ``Compacted`` if some of them are gone, ``StoreClosed``
        when the store is closed. Any number of watches may run at once; ending one is ``aclose``."""
        ...

    async def grant(self, ttl_s: int) -> int:
        """A new lease that ends ``ttl_s`` (at least 2) seconds from now unless it is kept alive."""
        ...

    async def keep_alive(self, lease: int) -> None:
        """Give ``lease`` its full time again. ``NotFound`` if it has ended: its keys are gone."""
        ...

    async def revoke(self, lease: int) -> None:
        """End ``lease`` now and delete its keys (one transaction). An unknown lease is no error."""
        ...

    async def compact(self, revision: int) -> None:
        """Forget changes up to and including ``revision``; current entries stay."""
        ...

    async def close(self) -> None: ...
