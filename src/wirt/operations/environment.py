"""What every operation works with: the adapters, the registry and the clock, handed in by the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from wirt.config.xlcfg import with_value
from wirt.model.domain import Domain
from wirt.operations.bus import Bus
from wirt.operations.registry import Domains
from wirt.plan.host import HostFacts
from wirt.plan.launch import LaunchPlan, plan_launch
from wirt.ports.clock import Clock
from wirt.ports.hypervisor import Hypervisor
from wirt.ports.images import ImageBuilder
from wirt.ports.machine import Machine
from wirt.ports.network import Network
from wirt.ports.store import Store

if TYPE_CHECKING:
    from wirt.operations.jobs.engine import Engine


@dataclass(frozen=True, slots=True)
class Settings:
    """``runs`` holds a directory for each run, ``dumps`` the cores of guests that crashed."""

    runs: Path
    dumps: Path
    default_bridge: str
    home: str


@dataclass(slots=True)
class Environment:
    settings: Settings
    clock: Clock
    store: Store
    machine: Machine
    hypervisor: Hypervisor
    network: Network
    images: ImageBuilder
    new_uuid: Callable[[], UUID]
    domains: Domains
    bus: Bus
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _jobs: Engine[Environment] | None = None

    @property
    def jobs(self) -> Engine[Environment]:
        assert self._jobs is not None, "the daemon wires the engine before it serves"
        return self._jobs

    def wire(self, engine: Engine[Environment]) -> None:
        """The engine needs the environment and the environment the engine: this closes the circle, once."""
        self._jobs = engine

    def directory(self, domid: int) -> Path:
        return self.settings.runs / str(domid)

    def host_facts(self) -> HostFacts:
        now = self.machine.now()
        return HostFacts(
            name=self.machine.name,
            cpus=now.cpus,
            memory_bytes=now.memory_bytes,
            memory_available_bytes=now.available_bytes,
            can_bridge=self.network.can_bridge(),
            default_bridge=self.settings.default_bridge,
        )

    async def plan(self, domain: Domain, domid: int) -> LaunchPlan:
        devices = frozenset(
            disk.target
            for disk in domain.config.disks
            if disk.target is not None and self.machine.is_block_device(disk.target)
        )
        facts = await self.hypervisor.facts()
        return plan_launch(domain.config, domain.uuid, domid, self.host_facts(), facts, devices)

    def rename_in_text(self, text: str, name: str, uuid: UUID | None = None) -> str:
        """A domain's stored xl.cfg under another name (and UUID)."""
        text = with_value(text, "name", name)
        return text if uuid is None else with_value(text, "uuid", str(uuid))

    def tell(self, domain: Domain, **data: object) -> None:
        """A domain changed: tell those who listen, and wake those who wait for a state."""
        incarnation = domain.incarnation
        reason = str(incarnation.end) if incarnation and incarnation.end else None
        values = {"state": str(domain.state), "domid": domain.domid, "reason": reason, **data}
        self.bus.publish("domain", domain.name, domain.uuid, values)
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()
