"""What wirt asks of a hypervisor about the vCPUs of a run: how many there are, and more of them.

There is no way back: what was plugged in stays until the run ends, and the guest can only leave it unused
(:meth:`wirt.ports.guest_agent.GuestAgents.set_vcpus`).
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID


class VcpuPlugs(Protocol):
    """Errors: ``IllegalState`` (no such run), ``HypervisorError``."""

    async def present(self, domain: UUID) -> int:
        """How many vCPUs the run has, whether the guest uses them or not: those numbered from 0 up to that. As the
        hypervisor has it now."""
        ...

    async def plug(self, domain: UUID, count: int) -> int:
        """Plug vCPUs in until there are ``count``, if there are fewer; how many there are then. ``IllegalState``
        if the machine has no place for so many, or takes none while it runs: nothing is changed. After another
        error some may have been plugged in, which :meth:`present` tells."""
        ...
