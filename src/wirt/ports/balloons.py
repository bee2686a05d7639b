"""What wirt asks of a hypervisor about a guest's memory while it runs: the balloon in it takes pages and gives
them back (VIRTIO 1.2, section 5.5), and more is plugged in (section 5.15). All sizes are in MiB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Balloon:
    """``actual`` is what the guest holds now, of ``most``: what it was given when it was started, and what it was
    asked to plug in since, or has. ``driver``: whether its driver is at work; without one it holds all.
    ``available`` is what it could still use without swapping, as it tells; ``None`` if it has not told.
    ``hotplug`` is what more can be plugged in, and ``plugs``: its driver for that is at work."""

    actual: int
    most: int
    driver: bool
    available: int | None = None
    hotplug: int = 0
    plugs: bool = False

    @property
    def top(self) -> int:
        """What it can have at most, once all is plugged in that can be."""
        return self.most + self.hotplug

    @property
    def used(self) -> int | None:
        return None if self.available is None else max(0, self.actual - self.available)


class Balloons(Protocol):
    """Errors: ``IllegalState`` (no such run), ``HypervisorError``."""

    async def look(self, domain: UUID) -> Balloon:
        """From the first look on the guest is asked what is available in it, which it tells later."""
        ...

    async def ask(self, domain: UUID, mib: int) -> None:
        """Have the guest hold ``mib`` and no more: by its balloon, and beyond what it was started with by memory
        that is plugged in, up to ``top``. It does so in its own time, as far as it can."""
        ...
