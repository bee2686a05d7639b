"""The files of an appliance, opened: what it names is looked for beside it, and through no link."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from wirt.config.tarheader import check_name
from wirt.model.errors import BadInput, NotFound
from wirt.model.text import plain

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""A pipe that is no file must not be waited for."""


class Opened:
    """``files`` by name, the one that was handed in first."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.files: dict[str, int] = {}
        self.files[PurePosixPath(path).name] = _open(path, None, path)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self.files.values():
            os.close(fd)

    @property
    def main(self) -> str:
        return next(iter(self.files))

    def beside(self, names: Iterable[str]) -> None:
        """Files of the same directory, or below it. ``NotFound`` and ``BadInput`` name the one that is wrong."""
        folder = os.open(Path(self.path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in dict.fromkeys(names):
                if name not in self.files:
                    self.files[name] = _open_below(folder, name, self.main)
        finally:
            os.close(folder)

    def manifest(self) -> None:
        """The one that belongs to an OVF descriptor, if there is one."""
        with contextlib.suppress(NotFound):
            self.beside([str(PurePosixPath(self.main).with_suffix(".mf"))])

    def stamp(self) -> str:
        """Changes when one of them does."""
        facts = [os.fstat(fd) for fd in self.files.values()]
        words = [f"{each.st_dev}.{each.st_ino}.{each.st_size}.{each.st_mtime_ns}" for each in facts]
        return hashlib.sha256(" ".join(words).encode()).hexdigest()[:32]


def _open_below(folder: int, name: str, main: str) -> int:
    *parts, last = check_name(name, main).split("/")
    with ExitStack() as stack:
        for part in parts:
            folder = _step(folder, part, main)
            stack.callback(os.close, folder)
        return _open(last, folder, f"{plain(name, 100)}, which {main} names,", os.O_NOFOLLOW)


def _step(folder: int, part: str, main: str) -> int:
    try:
        return os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        raise NotFound(f"{plain(part, 100)}, which {main} names, is no directory beside it") from error


def _open(name: str, folder: int | None, what: str, flags: int = 0) -> int:
    try:
        fd = os.open(name, _FLAGS | flags, dir_fd=folder)
    except OSError as error:
        words = (error.strerror or "it is not there").lower()
        if flags and error.errno == errno.ELOOP:
            raise BadInput(f"{what} is a link, which is not followed") from error
        raise NotFound(f"{what}: {words}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise BadInput(f"{what} is no file")
    return fd
