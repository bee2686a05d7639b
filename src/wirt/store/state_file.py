"""The SQLite file of a store. Synchronous; everything but ``open`` in the thread that opened it.

The file is the log of all changes since the last compaction, and of those before it that are still current. A
:class:`~wirt.store.tree.Tree` is what comes out when they are replayed, so nothing is stored twice.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wirt.ports.store import Change, Entry
from wirt.store.sqlite_errors import busy, corrupt, in_wirts_words
from wirt.store.tree import Effect, Lease, Tree

SCHEMA = 1
_APPLICATION_ID = int.from_bytes(b"wirt")
_CREATE = f"""
BEGIN;
CREATE TABLE changes (
    id INTEGER PRIMARY KEY,  -- rises with the revision
    revision INTEGER NOT NULL,
    key TEXT NOT NULL,
    value BLOB,              -- NULL, and so the rest: the key was deleted
    created INTEGER,
    version INTEGER,
    lease INTEGER,
    checksum INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX change_of_key ON changes (revision, key);
CREATE TABLE leases (number INTEGER PRIMARY KEY, ttl_s INTEGER NOT NULL) STRICT;
CREATE TABLE state (
    revision INTEGER NOT NULL,
    compacted INTEGER NOT NULL,
    last_lease INTEGER NOT NULL
) STRICT;
INSERT INTO state VALUES ({Tree().revision}, {Tree().compacted}, {Tree().last_lease});
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {SCHEMA};
COMMIT;
"""


class StateFile:
    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int) -> None:
        self._path = path
        self._connection = connection
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> tuple[StateFile, Tree]:
        """The file at ``path``, created if need be, and what it holds. For the errors see
        :func:`~wirt.store.sqlite.open_sqlite_store`."""
        with in_wirts_words(path):
            lock = _lock(path)
            try:
                tree = _examine(path) if _exists(path) else _create(path)
                return cls(path, _connect(path), lock), tree
            except BaseException:
                os.close(lock)
                raise

    def write(self, effect: Effect) -> None:
        """Add ``effect``; on return it is on the disk. ``Shortage`` if that is full: nothing was written."""
        with in_wirts_words(self._path), self._transaction() as connection:
            connection.executemany(
                "INSERT INTO changes VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)",
                map(_row, effect.changes),
            )
            connection.executemany("DELETE FROM changes WHERE revision = ? AND key = ?", effect.obsolete)
            if effect.granted is not None:
                connection.execute("INSERT INTO leases (number, ttl_s) VALUES (?, ?)", effect.granted)
            if effect.ended is not None:
                connection.execute("DELETE FROM leases WHERE number = ?", (effect.ended,))
            connection.execute(
                "UPDATE state SET revision = ?, compacted = ?, last_lease = ?",
                (effect.revision, effect.compacted, effect.last_lease),
            )

    def close(self) -> None:
        try:
            # A full disk is no reason to fail here: the log that can't be merged is merged at the next opening.
            with suppress(sqlite3.Error):
                self._connection.close()
        finally:
            os.close(self._lock)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite ends it by itself on some errors
                self._connection.execute("ROLLBACK")
            raise


def _lock(path: Path) -> int:
    """A descriptor that holds the store for this process; ``ResourceBusy`` if another one does.

    A file of its own, because closing any descriptor of the database would drop the locks that SQLite holds
    on it in this process (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    lock = os.open(_beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
        os.close(lock)
        raise busy(path, f"process {holder}" if holder else "another process") from None
    with suppress(OSError):  # only for the message above
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _exists(path: Path) -> bool:
    if path.exists():
        return True
    if _size(_beside(path, "-wal")):
        # SQLite would throw the log away as a stray, and with it what may be all that is left.
        raise corrupt(path, f"it is not there, but its log {path.name}-wal is")
    return False


def _examine(path: Path) -> Tree:
    """What ``path`` holds; ``CorruptState`` unless it is a sound store of a known schema. Changes nothing: a
    connection that may write would merge the log into the file, if only by being closed."""
    if not path.is_file():
        raise corrupt(path, "it is not a file")
    if not _size(path):
        raise corrupt(path, "it is empty, which a store never is")
    # SQLite would open what it may not write, and fail later with less to say. Not yet locked, so no harm done.
    os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    shared = _beside(path, "-shm")
    had_shared = shared.exists()
    # Without a log there is nothing to recover and SQLite need not create any file beside.
    options = "mode=ro" if _size(_beside(path, "-wal")) else "mode=ro&immutable=1"
    connection = _open(path, options)
    try:
        _check_schema(path, connection)
        # Not quick_check, which leaves out whether the index names every row: one that could not be found to be
        # deleted would come back to life.
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise corrupt(path, f"it is damaged ({' '.join(found.split())})")
        return _load(path, connection)
    finally:
        connection.close()
        if not had_shared:
            shared.unlink(missing_ok=True)


def _check_schema(path: Path, connection: sqlite3.Connection) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != _APPLICATION_ID:
        raise corrupt(path, "it is a database, but not one of wirt's")
    schema = connection.execute("PRAGMA user_version").fetchone()[0]
    if schema > SCHEMA:
        error = corrupt(path, f"it was written by a newer wirt (schema {schema}, this one knows {SCHEMA})")
        error.hint = f"install the newer wirt again; {error.hint}"
        raise error
    if schema < SCHEMA:
        raise corrupt(path, f"it has schema {schema}, which there never was")


def _create(path: Path) -> Tree:
    """All or nothing: an existing file is a whole store, whatever happened when it was made."""
    draft = _beside(path, ".new")
    leftovers = [draft, _beside(draft, "-journal")]
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection = _open(draft, "mode=rw")
        try:
            connection.execute("PRAGMA synchronous = OFF")  # once, below, will do
            connection.executescript(_CREATE)
        finally:
            connection.close()
        _sync(draft)
        draft.rename(path)
        _sync(path.parent)
        return Tree()
    except BaseException:
        for leftover in leftovers:
            leftover.unlink(missing_ok=True)
        raise


def _connect(path: Path) -> sqlite3.Connection:
    connection = _open(path, "mode=rw")
    try:
        _set_up(connection)
        # Takes the lock, and shows at once whether the file can be written at all.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE state SET revision = revision")
        connection.execute("ROLLBACK")
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection) -> None:
    # Exclusive, before anything else: it keeps the sqlite3 shell out of a running store, and spares the shared
    # memory file, whose pages would be a bus error on a full tmpfs.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    # With NORMAL a power cut may take acknowledged transactions. Measured: FULL costs 0.17 ms a commit, not 0.02.
    connection.execute("PRAGMA synchronous = FULL")


def _open(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        timeout=0.2,
        isolation_level=None,
        check_same_thread=False,
    )


def _load(path: Path, connection: sqlite3.Connection) -> Tree:
    numbers = connection.execute("SELECT revision, compacted, last_lease FROM state").fetchall()
    if len(numbers) != 1:
        raise corrupt(path, "it does not say which revision it is at")
    revision, compacted, last_lease = numbers[0]
    leases = connection.execute("SELECT number, ttl_s FROM leases ORDER BY number")
    rows = connection.execute(
        "SELECT revision, key, value, created, version, lease, checksum FROM changes ORDER BY id"
    )
    try:
        return Tree.restored(
            revision=revision,
            compacted=compacted,
            last_lease=last_lease,
            leases=(Lease(*lease) for lease in leases),
            rows=map(_change, rows),
        )
    except ValueError as error:
        raise corrupt(path, f"it contradicts itself ({error})") from error


_Row = tuple[int, str, bytes | None, int | None, int | None, int | None, int]


def _row(change: Change) -> _Row:
    entry = change.entry
    if entry is None:
        return _checked(change.revision, change.key, None, None, None, None)
    return _checked(change.revision, change.key, entry.value, entry.created, entry.version, entry.lease)


def _change(row: _Row) -> Change:
    revision, key, value, created, version, lease, _ = row
    if _checked(*row[:-1]) != row:
        raise ValueError(f"the checksum of {key} at revision {revision} is wrong")
    if value is None or created is None or version is None:
        return Change(key, revision, None)
    return Change(key, revision, Entry(key, value, created, revision, version, lease))


def _checked(
    revision: int,
    key: str,
    value: bytes | None,
    created: int | None,
    version: int | None,
    lease: int | None,
) -> _Row:
    # SQLite notices when its own structure is damaged, but not a flipped bit in who owns a domain.
    about = f"{revision} {key} {created} {version} {lease} {value is None}"
    checksum = zlib.crc32(value or b"", zlib.crc32(about.encode()))
    return revision, key, value, created, version, lease, checksum


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _size(path: Path) -> int:
    """0 if it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
