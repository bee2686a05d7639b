"""What wirt asks of whatever bounds the memory of a run, with all of its processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """``limit_bytes`` holds now, ``None`` for none. ``held_bytes``: what could be taken back only by ending the
    run; caches of files are no part of it."""

    limit_bytes: int | None
    held_bytes: int


class MemoryLimits(Protocol):
    def look(self, directory: Path) -> MemoryUse | None:
        """Of the run in ``directory``: a read or two. ``None`` where nothing bounds it, or once it is gone."""
        ...

    def bound(self, directory: Path, limit_bytes: int) -> None:
        """From now on. One that holds more must give it first, and may be ended by the kernel for it; where the
        kernel refuses that instead, as version 1 of control groups does, it is ``Unavailable`` and the limit is
        what it was. A run that is gone is no error."""
        ...

    def ended(self, directory: Path) -> int | None:
        """The limit, in bytes, at which the kernel ended what was in the run in ``directory``, because it wanted
        more. ``None`` if it did not, as far as can be known, or what is left of the run is cleared away."""
        ...
