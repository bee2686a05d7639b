"""What wirt asks of a hypervisor about the disks of a guest that runs.

Disks are named by their ``vdev``. The volumes that are named here exist and are active on this host; who owns them
is decided above. Every call is bounded by its caller, who may cancel it: a cancelled one leaves the guest on the
disk that it had, and nothing open that it had not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol
from uuid import UUID

from wirt.model.diskqos import DiskQos
from wirt.model.storage import Volume
from wirt.plan.engine import DiskEngine
from wirt.ports.storage import Progress

Settle = Callable[[], Awaitable[None]]
"""Writes down what is true from now on."""
BUFFERED = DiskEngine()
"""Threads, through the host's memory: what works wherever a disk lies."""
NO_ENGINES: Mapping[str, DiskEngine] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LiveDisk:
    """A disk as the hypervisor has it open now, and the chain that it stands on, topmost first."""

    vdev: str
    size: int
    writable: bool
    chain: tuple[str, ...]


class LiveDisks(Protocol):
    """Errors: ``IllegalState`` (no such run), ``NotFound`` (no such disk), ``HypervisorError`` with the
    hypervisor's words, ``Shortage`` (a disk is full)."""

    async def disks(self, domain: UUID) -> tuple[LiveDisk, ...]: ...

    async def resize(self, domain: UUID, vdev: str, size: int) -> None:
        """The guest sees the new size at once. The volume has room for it already."""
        ...

    async def throttle(self, domain: UUID, limits: Mapping[str, DiskQos]) -> None:
        """From now on these hold, by vdev, for what the guest asks of each disk, wherever that goes on.
        ``NotFound`` before anything is changed; if the hypervisor refuses one, those before it hold."""
        ...

    async def throttles(self, domain: UUID) -> Mapping[str, DiskQos]:
        """What holds now, for every disk with something in it. Of a disk alone no group is told."""
        ...

    async def move(
        self,
        domain: UUID,
        vdev: str,
        target: Volume,
        progress: Progress,
        *,
        engine: DiskEngine = BUFFERED,
        bytes_per_s: int | None = None,
        settle: Settle | None = None,
    ) -> None:
        """Copy the disk while the guest writes it, then go on with the copy; the old volume is let go of.
        ``engine``: how the copy is served, but for what the guest's device keeps for as long as it runs.
        ``settle`` as for :meth:`merge`. Cancelled while the guest goes over already, it is done all the same."""
        ...

    async def snapshot(
        self, domain: UUID, overlays: Mapping[str, Volume], engines: Mapping[str, DiskEngine] = NO_ENGINES
    ) -> None:
        """At one instant, go on in these new volumes, which stand on those of before; all or none. ``engines`` as
        for :meth:`move`, by vdev as the overlays are."""
        ...

    async def merge(
        self, domain: UUID, vdev: str, path: str, progress: Progress, settle: Settle | None = None
    ) -> None:
        """Put what the layer at ``path`` of the disk's chain holds into the one below it, and let go of it. If it
        is the one that the guest writes, ``settle`` is awaited once it writes the one below instead, and the guest
        stands still meanwhile: until then both hold the same, so whoever dies here leaves no doubt."""
        ...

    async def save_memory(self, domain: UUID, path: Path, progress: Progress) -> None:
        """Write memory and devices of a stopped guest to a file that :meth:`Hypervisor.launch` can begin from."""
        ...

    async def stream_memory(self, domain: UUID, descriptor: int, progress: Progress) -> None:
        """The same into a pipe, which somebody reads to its end."""
        ...
