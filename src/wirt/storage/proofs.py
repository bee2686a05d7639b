"""A mark beside a disk, by which another host that has the same directory knows that it has.

Two paths that are called the same on two hosts need not lead to the same disk; a guest that goes on with a disk
that only looks like its own destroys it. So it is not believed, but seen.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

PREFIX = ".wirt-proof-"


def lay(path: str, token: str) -> bool:
    """Beside ``path``; whether that could be done. Devices have nothing beside them."""
    place = _place(path, token)
    if place is None:
        return False
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            os.write(descriptor, token.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except FileExistsError:
        return True
    except OSError:
        return False
    return True


def seen(path: str, token: str) -> bool:
    """Whether the same mark lies beside ``path`` here, and ``path`` is there."""
    place = _place(path, token)
    if place is None:
        return False
    try:
        return Path(path).exists() and place.read_text(errors="replace") == token
    except OSError:
        return False


def take(path: str, token: str) -> None:
    place = _place(path, token)
    if place is not None:
        with contextlib.suppress(OSError):
            place.unlink()


def _place(path: str, token: str) -> Path | None:
    if not token.isalnum() or len(token) > 64 or not path.startswith("/") or path.startswith("/dev/"):
        return None
    return Path(path).parent / f"{PREFIX}{token}"
