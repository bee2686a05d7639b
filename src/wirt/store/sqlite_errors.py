"""SQLite's and the operating system's errors about a store's file, in wirt's words."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wirt.model.errors import CorruptState, ResourceBusy, Shortage, Unavailable, WirtError

_OUT_OF_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}


@contextmanager
def in_wirts_words(path: Path) -> Iterator[None]:
    """Errors from in here are about the store at ``path``."""
    try:
        yield
    except sqlite3.Error as error:
        raise _from_sqlite(path, error) from error
    except OSError as error:
        raise _from_system(path, error) from error


def corrupt(path: Path, what: str) -> CorruptState:
    return CorruptState(
        f"the store {path} can't be used: {what}",
        hint=f"nothing in it was changed; put a backup in its place, or move it and any {path.name}-wal away "
        "to start with an empty store",
    )


def busy(path: Path, holder: str) -> ResourceBusy:
    return ResourceBusy(f"the store {path} is in use by {holder}", hint="only one process may have it open")


def _from_sqlite(path: Path, error: sqlite3.Error) -> WirtError:
    """By primary result code (https://sqlite.org/rescode.html)."""
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF:
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR | sqlite3.SQLITE_NOMEM:
            return _no_room(path, str(error))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return busy(path, "another program")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return _out_of_reach(path, str(error))
        case _:
            return corrupt(path, str(error))


def _from_system(path: Path, error: OSError) -> WirtError:
    reason = error.strerror or str(error)
    return _no_room(path, reason) if error.errno in _OUT_OF_ROOM else _out_of_reach(path, reason)


def _no_room(path: Path, reason: str) -> Shortage:
    return Shortage(
        f"the store {path} can't be written: {reason}",
        hint=f"nothing was written; see that there is room in {path.parent} and that its disk works",
    )


def _out_of_reach(path: Path, reason: str) -> Unavailable:
    return Unavailable(
        f"the store {path} can't be opened for writing: {reason}",
        hint=f"see that {path.parent} exists and that this user may write to it and to the files in it",
    )
