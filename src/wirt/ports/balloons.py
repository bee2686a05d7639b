"""What wirt asks of a hypervisor about a guest's memory while it runs: the balloon in it takes pages and gives
them back (VIRTIO 1.2, section 5.5). All sizes are in MiB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Balloon:
    """``actual`` is what the guest holds now, of ``most`` which it was given when it was started. ``driver``:
    whether its driver is at work; without one it holds all. ``available`` is what it could still use without
    swapping, as it tells; ``None`` if it has not told."""

    actual: int
    most: int
    driver: bool
    available: int | None = None

    @property
    def used(self) -> int | None:
        return None if self.available is None else max(0, self.actual - self.available)


class Balloons(Protocol):
    """Errors: ``IllegalState`` (no such run), ``HypervisorError``."""

    async def look(self, domain: UUID) -> Balloon:
        """From the first look on the guest is asked what is available in it, which it tells later."""
        ...

    async def ask(self, domain: UUID, mib: int) -> None:
        """Have the guest hold ``mib`` and no more. It does so in its own time, as far as it can."""
        ...
