"""The host's part of its networks: bridges and what leads out of them, rules between them, servers for guests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from wirt.model.network import Lease, NetworkConfig
from wirt.plan.networks_actions import Action
from wirt.plan.networks_state import FabricState


class Fabric(Protocol):
    """Errors: ``Unavailable`` with the kernel's or a program's reason, where nothing else is said."""

    async def check(self, network: NetworkConfig) -> None:
        """``Unavailable`` for what the kernel lacks or what is not installed, found out without leaving a
        trace."""
        ...

    async def observe(self, devices: frozenset[str] | None = None) -> FabricState:
        """How it is now. Of ``devices`` only, which spares a look at a thousand taps; ``None`` for all, and then
        with the routes too."""
        ...

    async def apply(self, action: Action) -> None:
        """Do it. What is so already is no error, nor is a device that is to be removed and has gone."""
        ...

    async def leases(self, network: str) -> tuple[Lease, ...]:
        """Those that its server has given out."""
        ...

    def changes(self) -> AsyncIterator[None]:
        """Yields when a device, an address or a route may have changed; several at once may be one."""
        ...
