"""Parts: hidden files in a pool's directory that are on their way to become volumes.

Several hosts may see the directory, so a part that one finds may be what another works on. Whoever works on one
has a lock on a file beside it (flock(2), which an NFS server hears of, and which ends with the process). The part
itself is no place for that lock: QEMU's programs take theirs there, and on NFS the two would be one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from wirt.storage.media import PART

_BUSY = ".busy"


class Work:
    """On the part ``path``, which is there between :meth:`begin` and :meth:`end`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._held: int | None = None
        self._over = False

    def begin(self) -> None:
        """``OSError``. After :meth:`end` it does nothing: whoever waited for it was cancelled."""
        with self._lock:
            if self._over:
                return
            self._held = _held(_beside(self.path))
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))

    def end(self) -> None:
        """Nothing is left of it; what was made of it is."""
        with self._lock:
            self._over = True
            if self._held is not None:
                self.path.unlink(missing_ok=True)
                _beside(self.path).unlink(missing_ok=True)
                os.close(self._held)
                self._held = None


def sweep(listed: Iterable[Path]) -> tuple[Path, ...]:
    """Remove those of ``listed`` that are parts on which nobody works; those that are gone then."""
    hidden = [path for path in listed if path.name.startswith(".") and PART in path.name]
    parts = {path.with_name(path.name.removesuffix(_BUSY)) for path in hidden}
    return tuple(path for path in sorted(parts) if _swept(path))


def _swept(part: Path) -> bool:
    """One without a file beside it is an older wirt's."""
    beside = _beside(part)
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return _unlinked(part)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        gone = _unlinked(part)
        beside.unlink(missing_ok=True)
        return gone
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def _held(path: Path) -> int:
    """Somebody may sweep it away between its making and its lock: then it is made anew."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _unlinked(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _beside(part: Path) -> Path:
    return part.with_name(part.name + _BUSY)
