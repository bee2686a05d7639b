"""Adapters of the :class:`wirt.ports.store.Store` port.

Both local stores are one state machine (``tree``), served by one front (``local``: order of commits, watches,
leases) over a disk that is none (``memory``) or a SQLite file (``sqlite``, ``state_file``). They can't disagree
on what a transaction means, because only ``tree`` knows.
"""

from __future__ import annotations

from wirt.store.memory import MemoryStore
from wirt.store.sqlite import SqliteStore, open_sqlite_store

__all__ = ["MemoryStore", "SqliteStore", "open_sqlite_store"]
