"""What wirt asks of a hypervisor to back up the disks of a guest that runs.

A *checkpoint* is a name for an instant, ``PLACE.NAME``; from then on the hypervisor remembers which blocks were
written. A backup begins with a new checkpoint and freezes what the disks hold at that instant for whoever reads
them, while the guest goes on. Disks are named by their ``vdev``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from wirt.ports.blocks import Blocks


@dataclass(frozen=True, slots=True)
class Export:
    """A disk as it was when the backup began, ``size`` in bytes. ``changes``: whether it is known what was written
    since the checkpoint that was asked for. ``open`` is given whether only that is wanted, and is called in a
    thread; what it gives is closed before the backup ends."""

    vdev: str
    size: int
    changes: bool
    open: Callable[[bool], Blocks]


class LiveBackup(Protocol):
    """One backup of a domain at a time. Errors: ``IllegalState`` (no such run), ``NotFound`` (no such disk),
    ``HypervisorError`` with the hypervisor's words, ``Shortage`` (no room for what the guest overwrites
    meanwhile).
    """

    async def checkpoints(self, domain: UUID) -> Mapping[str, frozenset[str]]:
        """Of each disk, those from which on all changes are known."""
        ...

    async def begin(
        self, domain: UUID, checkpoint: str, vdevs: Collection[str], scratch: Path, *, since: str | None = None
    ) -> tuple[Export, ...]:
        """Freeze ``vdevs`` at one instant and call it ``checkpoint``. What the guest overwrites meanwhile is kept
        in files without names in ``scratch``; where they can't grow the backup fails, and never the guest. What an
        earlier backup left is taken back first. On an error all is as it was."""
        ...

    async def end(self, domain: UUID, checkpoint: str) -> None:
        """Let go: ``checkpoint`` stays, and all others of its place are forgotten. Repeated, or without a begin,
        no error."""
        ...

    async def abandon(self, domain: UUID, checkpoint: str | None = None) -> None:
        """As if the backup that was to be ``checkpoint`` had never begun: no change since the checkpoints before
        is lost. Works on whatever a daemon left that did not live to end it; nothing there is no error."""
        ...
