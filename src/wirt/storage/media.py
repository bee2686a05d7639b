"""What disks lie on, and what a file system can do for them: found out by trying, not by names alone."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import stat
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from wirt.model.storage import FileSystem
from wirt.plan.engine import MEMORY_FILE_SYSTEMS, Medium

PART = ".part-"
"""In the names of files that are not finished: what an interrupted trial leaves is tidied with them."""
SECTOR, BLOCK = 512, 4096
TRIAL_BYTES = 1 << 20
_FICLONE = 0x40049409  # linux/fs.h
_KEEP_SIZE_AND_PUNCH_HOLE = 0x01 | 0x02  # linux/falloc.h
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def media_of(paths: Collection[str]) -> dict[str, Medium]:
    """Of those that can be opened to read."""
    found = {}
    for path in paths:
        with contextlib.suppress(OSError), _opened(path, os.O_RDONLY) as descriptor:
            found[path] = _medium(path, descriptor)
    return found


def _medium(path: str, descriptor: int) -> Medium:
    facts = os.fstat(descriptor)
    if stat.S_ISBLK(facts.st_mode):
        return Medium(None)
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(f"{path} is neither a file nor a device")
    kind = file_system_of(descriptor)
    return Medium(kind, _why_not_direct(path, kind), facts.st_blocks * SECTOR < facts.st_size)


def _why_not_direct(path: str, kind: str) -> str | None:
    """Opening says yes where the first read says no, so it is read too."""
    if kind in MEMORY_FILE_SYSTEMS:
        return f"{kind} keeps it in memory anyway"
    if kind == "btrfs":
        return "a guest that changes a block while it is written directly breaks btrfs' checksum of it"
    try:
        with _opened(path, os.O_RDONLY | os.O_DIRECT) as descriptor, mmap.mmap(-1, BLOCK) as block:
            os.preadv(descriptor, [block], 0)
    except OSError as error:
        return f"{kind} can't do that ({error.strerror})"
    return None


def file_system_of(descriptor: int) -> str:
    """As mount(8) names it: by the mount that it was opened through (proc(5), fdinfo and mountinfo)."""
    rows = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    mount = next(row.split()[1] for row in rows if row.startswith("mnt_id:"))
    for row in Path("/proc/self/mountinfo").read_text().splitlines():
        words = row.split()
        if words[0] == mount:
            return words[words.index("-") + 1]
    return "unknown"


def file_system_at(directory: Path) -> FileSystem:
    """By trying it on two hidden files there, which are gone afterwards. ``OSError`` if none can be made."""
    with _trial(directory) as (one, first), _trial(directory) as (_, second):
        os.pwrite(first, b"wirt" * (TRIAL_BYTES // 4), 0)
        os.fsync(first)
        kind = file_system_of(first)
        return FileSystem(
            kind=kind,
            reflink=_shares(first, second),
            direct=_why_not_direct(str(one), kind) is None,
            discard=_gives_back(first),
        )


@contextmanager
def _trial(directory: Path) -> Iterator[tuple[Path, int]]:
    path = directory / f".trial{PART}{uuid.uuid4().hex}"
    try:
        with _opened(str(path), os.O_RDWR | os.O_CREAT | os.O_EXCL) as descriptor:
            yield path, descriptor
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _opened(path: str, flags: int) -> Iterator[int]:
    """Without waiting: a FIFO in the place of an image must not hold anybody up."""
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _shares(source: int, target: int) -> bool:
    """Whether two files can have the same blocks (ioctl_ficlone(2))."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _gives_back(descriptor: int) -> bool:
    """Whether a hole can be made in a file (fallocate(2)), as QEMU does for a guest's discard."""
    before = os.fstat(descriptor).st_blocks
    if _libc.fallocate(descriptor, _KEEP_SIZE_AND_PUNCH_HOLE, 0, TRIAL_BYTES) != 0:
        return False
    return os.fstat(descriptor).st_blocks < before
