"""Looking at what a process can really reach, as its host's kernel tells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from wirt.plan.observed import HomeFile, Observed, Planned


class Observer(Protocol):
    """Looks and touches nothing. What it has no right to see is said in the answer, not left out of it."""

    def observe(self, pid: int, started_ticks: int | None, known: Sequence[str] = ()) -> Observed | None:
        """The process of that pid and start time (field 22 of /proc/PID/stat), or ``None`` if it has ended; which
        of the ``known`` paths it has open is told even if it knows them by other names. Reads much of /proc: call
        in a thread."""
        ...

    def planned(self, directory: Path) -> Planned | None:
        """The jail that was built for the run in ``directory``, as it was written down then; ``None`` for a run
        without one. ``CorruptState`` if the record can't be understood."""
        ...

    def home(self, directories: Sequence[str]) -> tuple[HomeFile, ...]:
        """Everything under ``directories`` that others than its owner could open, and the directories themselves.
        Call in a thread."""
        ...
