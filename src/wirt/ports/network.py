"""Plugging a guest's card into the host's network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from wirt.model.devices import PortForward, VifKind
from wirt.plan.nics import NicPlan


@dataclass(frozen=True, slots=True)
class Plugged:
    """A card's backend, ready for a hypervisor. ``descriptor`` is an open tap that the receiver must close;
    the tap vanishes with the last process that holds it, and is called ``tap`` (the plan's name for it is a wish:
    another host's guests may have taken it). ``forwards`` have their host ports chosen."""

    nic: NicPlan
    kind: VifKind
    descriptor: int | None = None
    tap: str | None = None
    forwards: tuple[PortForward, ...] = ()


class Network(Protocol):
    """Errors: ``NotFound`` (no such bridge), ``Shortage`` (no free port), ``HypervisorError``-free: a network
    that can't be had raises ``Unavailable`` with the kernel's reason."""

    def can_bridge(self) -> bool:
        """Whether this process may make taps and bridges here."""
        ...

    async def warm_up(self) -> None:
        """Load what the first plug would wait for. Never needed, never wrong."""
        ...

    async def plug(self, nic: NicPlan) -> Plugged:
        """Make the backend of ``nic``. Whatever an earlier plug of the same card left behind is replaced."""
        ...

    async def unplug(self, plugged: Plugged) -> None:
        """Close and remove it; one that is gone already is no error."""
        ...
