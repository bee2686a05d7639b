"""What wirt asks of an agent inside a guest. A guest need not have one, and what one says is the guest's word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from wirt.model.vcpus import GuestVcpu

HELD_S = 10.0
"""How long a guest's file systems stay frozen when nobody thaws them."""
LISTS_VCPUS, SETS_VCPUS = "guest-get-vcpus", "guest-set-vcpus"
"""Among :attr:`AgentInfo.commands`, if it tells of vCPUs and switches them."""


@dataclass(frozen=True, slots=True)
class GuestInterface:
    """A network card as the guest sees it. ``addresses`` are ``ADDRESS/PREFIX``."""

    name: str
    mac: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """``commands``: those that the agent carries out. What a guest does not tell is empty. All texts are printable
    and short."""

    version: str
    commands: frozenset[str]
    system: str = ""
    kernel: str = ""
    interfaces: tuple[GuestInterface, ...] = ()


class GuestAgents(Protocol):
    """Agents of the guests that run on this host.

    Errors: ``IllegalState`` (no such run, or it is paused), ``HypervisorSilent`` (the agent did not answer in
    time), ``HypervisorError`` with the agent's own words, or because what it said can't be right. Where there is
    no agent, ``Unavailable``, save where it says otherwise. No call takes longer than half a minute; a guest gets
    one request at a time.
    """

    async def available(self, domain: UUID) -> bool:
        """Whether an agent answers."""
        ...

    async def info(self, domain: UUID) -> AgentInfo: ...

    async def freeze(self, domain: UUID) -> int | None:
        """Have the guest write out its file systems and hold them; how many it holds, or ``None`` if it has no
        agent. Undone by :meth:`thaw`, by itself after :data:`HELD_S`, and by the next daemon if this one dies. On
        an error they are thawed as soon as the guest can be reached."""
        ...

    async def thaw(self, domain: UUID) -> int:
        """How many file systems had been held; 0 if none was."""
        ...

    async def time(self, domain: UUID) -> float:
        """The guest's clock, in seconds since the epoch."""
        ...

    async def set_time(self, domain: UUID, seconds: float) -> None:
        """Set the guest's clock to ``seconds`` since the epoch."""
        ...

    async def shutdown(self, domain: UUID) -> None:
        """Ask the agent to shut the guest down; it has been asked, and may take its time."""
        ...

    async def vcpus(self, domain: UUID) -> tuple[GuestVcpu, ...]:
        """Those that the guest knows of, by its own numbers."""
        ...

    async def set_vcpus(self, domain: UUID, online: Mapping[int, bool]) -> None:
        """Bring vCPUs online or take them offline, by the guest's numbers. What came of it :meth:`vcpus` tells."""
        ...
