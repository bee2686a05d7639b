"""Devices and files that are to be written over: whose they are, and whether there is anything on them."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from wirt.model.errors import BadInput, NotFound, ResourceBusy
from wirt.model.units import MIB
from wirt.ports.bootstrap import Blank

_SYSTEM = Path("/sys/dev/block")


def look(path: str) -> Blank:
    """``NotFound``, ``BadInput``, or ``ResourceBusy`` with who has it."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise NotFound(f"{path}: {(error.strerror or 'it is not there').lower()}") from error
    if stat.S_ISBLK(found.st_mode):
        _check_unused(path, found.st_rdev)
    elif not stat.S_ISREG(found.st_mode):
        raise BadInput(f"{path} is neither a file nor a block device")
    try:
        # Of a block device: refused while it, a part of it or what it is a part of is in use (open(2), O_EXCL).
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_EXCL if stat.S_ISBLK(found.st_mode) else 0)
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise ResourceBusy(f"{path} is in use", hint=f"lsblk {path} shows by what") from error
        raise BadInput(f"{path} can't be written: {(error.strerror or '').lower()}") from error
    try:
        return _content(descriptor)
    finally:
        os.close(descriptor)


def wipe(path: str) -> None:
    """Zeros over what tells a partition table or a file system, at both ends."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        for at in (0, max(0, size - MIB)):
            os.pwrite(descriptor, bytes(min(MIB, size)), at)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> Blank:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    places = (0, max(0, size - MIB))
    empty = not any(any(os.pread(descriptor, min(MIB, size), at)) for at in places)
    return Blank(size, empty)


def _check_unused(path: str, device: int) -> None:
    own = _family(device)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    for number, place in (tuple(row.split()[2:5:2]) for row in mounts):
        if number in own:
            raise ResourceBusy(f"{path} is mounted on {place}", hint=f"umount {place} first")
    for row in Path("/proc/swaps").read_text().splitlines()[1:]:
        with contextlib.suppress(OSError):
            if _number(os.stat(row.split()[0]).st_rdev) in own:  # noqa: PTH116
                raise ResourceBusy(f"{path} is swap", hint=f"swapoff {row.split()[0]} first")
    for number in own:
        holders = _SYSTEM / number / "holders"
        names = sorted(each.name for each in holders.iterdir()) if holders.is_dir() else []
        if names:
            raise ResourceBusy(f"{path} is a part of {', '.join(names)}", hint=f"lsblk {path} shows it")


def _family(device: int) -> frozenset[str]:
    """The device, the partitions on it, and the disk that it is a partition of."""
    return frozenset(_numbers(_number(device)))


def _numbers(number: str) -> Iterator[str]:
    yield number
    folder = _SYSTEM / number
    if (folder / "partition").is_file():
        with contextlib.suppress(OSError):
            # The whole disk being mounted without partitions, which happens.
            yield (folder / "../dev").resolve().read_text().strip()
        return
    for part in folder.glob("*/partition"):
        with contextlib.suppress(OSError):
            yield (part.parent / "dev").read_text().strip()


def _number(device: int) -> str:
    return f"{os.major(device)}:{os.minor(device)}"
