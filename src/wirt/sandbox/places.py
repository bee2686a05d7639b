"""A run's directory as a small file system of its own, so that what QEMU writes there without end (the console's
log while no daemon runs, complaints that a guest provokes) fills that and nothing else (tmpfs(5), mount(2))."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

EVENTS_BYTES = 256 * 1024
"""Kept free for the event log, which a flood on the console must not silence."""

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_FALLOC_FL_KEEP_SIZE = 1
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def bound(directory: Path, size_bytes: int) -> None:
    """Lay a file system of ``size_bytes`` over ``directory``. Raises ``OSError`` (EPERM without CAP_SYS_ADMIN)."""
    options = f"size={size_bytes},nr_inodes=256,mode=0700".encode()
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    if _libc.mount(b"wirt", os.fsencode(directory), b"tmpfs", flags, options) != 0:
        raise _last_error(directory)


def unbound(directory: Path) -> None:
    """Take it away with all that is in it; open files live on. None there is no error."""
    if is_bound(directory) and _libc.umount2(os.fsencode(directory), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
        raise _last_error(directory)


def is_bound(directory: Path) -> bool:
    return os.path.ismount(directory)


def keep_room(log: Path, size_bytes: int) -> None:
    """Make ``log``, which will not run out of room for its first ``size_bytes``, whatever else fills the place."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if _libc.fallocate(descriptor, _FALLOC_FL_KEEP_SIZE, 0, size_bytes) != 0:
            raise _last_error(log)
    finally:
        os.close(descriptor)


def _last_error(path: Path) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), str(path))
