"""Plugging a guest's card into the host's network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from wirt.model.devices import PortForward, VifKind
from wirt.model.security import SecurityGroup
from wirt.plan.nics import NicPlan
from wirt.plan.policy import PortPolicy
from wirt.plan.scripts import VifScript


@dataclass(frozen=True, slots=True)
class Plugged:
    """A card's backend, ready for a hypervisor. ``descriptor`` is an open tap that the receiver must close;
    the tap vanishes with the last process that holds it, and is called ``tap`` (the plan's name for it is a wish:
    another host's guests may have taken it). ``forwards`` have their host ports chosen."""

    nic: NicPlan
    kind: VifKind
    descriptor: int | None = None
    tap: str | None = None
    script: VifScript | None = None
    forwards: tuple[PortForward, ...] = ()


@dataclass(frozen=True, slots=True)
class VifStatistics:
    """Counted since the tap was made, as the guest sees it: ``rx`` is what it was sent."""

    rx_bytes: int
    rx_packets: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_dropped: int


@dataclass(frozen=True, slots=True)
class PortReport:
    """A card that is plugged in as the kernel has it at this moment. ``bridge`` is ``None`` if it is in none;
    ``amiss`` has a sentence for each of its rules and limits that is not as it should be."""

    tap: str
    bridge: str | None
    up: bool
    amiss: tuple[str, ...] = ()


class Herald(Protocol):
    """Speaks for cards whose guest can't yet. Their taps live on until it is closed, whoever else has let go."""

    def announce(self) -> None:
        """Tell the bridge and the switches behind it that the cards are here, in a frame of each: from then on
        what is sent to them waits at their taps. One that nobody hears is no error."""
        ...

    def close(self) -> None:
        """Repeated, it changes nothing."""
        ...


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

    async def offline(self, script: VifScript) -> None:
        """Tell a card's own script that the card is gone, or will be at once: after a plug that succeeded that is
        the caller's to do. ``Unavailable`` with its words if it fails."""
        ...

    async def adopt(self, nic: NicPlan, tap: str) -> Plugged:
        """Know a card again that an earlier daemon plugged in and a guest still holds. Its rules are made anew
        by the next :meth:`mend`. Unplugging the result removes tap and rules."""
        ...

    async def lead_to(self, plugged: Sequence[Plugged]) -> None:
        """Have bridges send what is for these cards to their taps from now on, whatever they have learned: the
        guest has moved there, and has not said a word yet. ``Unavailable`` with the kernel's reason."""
        ...

    def herald(self, plugged: Sequence[Plugged]) -> Herald:
        """For cards that have just been plugged in, before a hypervisor has them. Those without a tap are left
        out."""
        ...

    async def set_groups(self, groups: Sequence[SecurityGroup]) -> None:
        """From now on these are the security groups: the rules of every card follow in one transaction, or, on an
        error, none does. ``NotFound`` if a card that is plugged in is in a group that would be gone."""
        ...

    async def set_policy(self, tap: str, policy: PortPolicy) -> None:
        """Change what a plugged card may do, while it runs: all of it or nothing. ``NotFound``: no such tap, or no
        such group."""
        ...

    async def mend(self) -> tuple[str, ...]:
        """Compare what filters and limits should be with what the kernel has, and mend it in one transaction: a
        sentence for each thing that was amiss. Rules of cards that are gone are taken away."""
        ...

    async def inspect(self, taps: Sequence[str]) -> tuple[PortReport, ...]:
        """Those of ``taps`` that exist, looked at with nothing changed: what :meth:`mend` would find amiss, for
        ``wirt audit``. ``Unavailable`` if the rules can't be listed."""
        ...

    async def statistics(self, tap: str) -> VifStatistics | None:
        """``None`` if there is no such tap."""
        ...

    def all_statistics(self) -> Mapping[str, VifStatistics]:
        """Of all taps at once, and of whatever other devices there are, by name: as cheap as of one."""
        ...
