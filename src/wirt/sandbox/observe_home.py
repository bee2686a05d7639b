"""What of wirt's home others than its owner could open: file modes, and the directories on the way."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from wirt.plan.observed import HomeFile

MOST_ENTRIES = 100_000
MOST_FOUND = 2_000
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_ENTER = stat.S_IXGRP | stat.S_IXOTH
_CHANGE = stat.S_IWGRP | stat.S_IWOTH


def open_to_others(directories: Sequence[str]) -> tuple[HomeFile, ...]:
    """The directories themselves, and everything below them whose mode says more than its owner may. Links are
    not followed. What stands above a directory is not looked at: others may be let through to it."""
    found: dict[str, HomeFile] = {}
    for directory in directories:
        try:
            about = Path(directory).lstat()
        except FileNotFoundError:
            continue
        found.setdefault(directory, _entry(directory, about, reachable=True))
        for entry in _below(directory, bool(about.st_mode & _ENTER)):
            if len(found) >= MOST_FOUND:
                break
            found.setdefault(entry.path, entry)
    return tuple(found.values())


def _below(top: str, entered: bool) -> Iterator[HomeFile]:
    waiting = [(top, entered)]
    seen = 0
    while waiting:
        directory, reachable = waiting.pop()
        try:
            entries = sorted(os.scandir(directory), key=lambda each: each.name)
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if seen > MOST_ENTRIES:
                return
            try:
                about = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISLNK(about.st_mode):
                continue
            if about.st_mode & _OTHERS:
                yield _entry(entry.path, about, reachable=reachable)
            if stat.S_ISDIR(about.st_mode):
                waiting.append((entry.path, reachable and bool(about.st_mode & _ENTER)))


def _entry(path: str, about: os.stat_result, *, reachable: bool) -> HomeFile:
    mode = stat.S_IMODE(about.st_mode)
    return HomeFile(
        path=path,
        mode=mode,
        directory=stat.S_ISDIR(about.st_mode),
        reachable=reachable and bool(mode & _OTHERS),
        writable=reachable and bool(mode & _CHANGE),
    )
