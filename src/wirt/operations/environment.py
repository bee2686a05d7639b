"""What every operation works with: the adapters, the registry and the clock, handed in by the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from wirt.config.xlcfg import with_value
from wirt.model.cpu import GivenCpu
from wirt.model.devices import DiskSpec
from wirt.model.domain import Domain
from wirt.model.memory import TAKEN, GivenMemory, HugeMemory
from wirt.model.storage import Volume
from wirt.operations import given_memory
from wirt.operations.accounting import Accounting
from wirt.operations.bus import Bus
from wirt.operations.cpu_pools import CpuPools
from wirt.operations.groups import SecurityGroups
from wirt.operations.handovers import Handovers, Incoming
from wirt.operations.memory_grants import Grants
from wirt.operations.networks import Networks
from wirt.operations.peers import KnownPeers
from wirt.operations.placement import memory_nodes
from wirt.operations.pools import Pools
from wirt.operations.qos_classes import QosClasses
from wirt.operations.registry import Domains
from wirt.operations.scheduling import Scheduling
from wirt.operations.snapshots import Snapshots
from wirt.operations.turns import Turns, promised_bytes
from wirt.plan.engine import Medium
from wirt.plan.host import HostFacts
from wirt.plan.launch import LaunchPlan, plan_launch
from wirt.ports.appliances import Appliances
from wirt.ports.audit import Observer
from wirt.ports.backups import Backups
from wirt.ports.boot_files import BootFiles
from wirt.ports.bootstrap import Bootstrapper
from wirt.ports.clock import Clock
from wirt.ports.counters import Counters
from wirt.ports.fabric import Fabric
from wirt.ports.host_memory import HostMemory
from wirt.ports.hypervisor import Hypervisor
from wirt.ports.images import ImageBuilder
from wirt.ports.layers import Content, LayerFiles
from wirt.ports.live_disks import LiveDisks
from wirt.ports.machine import Machine
from wirt.ports.memory_limits import MemoryLimits
from wirt.ports.migration import LiveMigrations
from wirt.ports.network import Network
from wirt.ports.peers import Peers
from wirt.ports.sandbox import Sandbox
from wirt.ports.save_files import SaveFiles
from wirt.ports.seeds import SeedMaker
from wirt.ports.storage import ImageTool, Storage
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
    default_address: IPv4Interface = field(default_factory=lambda: IPv4Interface("10.219.0.1/24"))
    cpu_model: str | None = None
    migrations_at_once: int = 2
    reporting: bool = True
    ksm: bool = False
    ksm_pages: int | None = None
    ksm_sleep_ms: int | None = None


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
    observer: Observer | None = None
    groups: SecurityGroups = field(init=False)
    fabric: Fabric | None = None
    networks: Networks = field(init=False)
    storage: Storage | None = None
    pools: Pools = field(init=False)
    cpu_pools: CpuPools = field(init=False)
    qos_classes: QosClasses = field(init=False)
    snapshots: Snapshots = field(init=False)
    image_tool: ImageTool | None = None
    live_disks: LiveDisks | None = None
    bootstrapper: Bootstrapper | None = None
    seeds: SeedMaker | None = None
    appliances: Appliances | None = None
    backups: Backups | None = None
    live_migrations: LiveMigrations | None = None
    layer_files: LayerFiles | None = None
    boot_files: BootFiles | None = None
    contents: dict[str, tuple[str, Content]] = field(default_factory=dict)
    """Of kernels that were read, by path, each with the file's stamp then."""
    peers: Peers | None = None
    handovers: Handovers = field(init=False)
    incoming: Incoming = field(default_factory=Incoming)
    turns: Turns = field(default_factory=Turns)
    taken_back: set[str] = field(default_factory=set)
    """Hand-overs whose other host is dead for good, as somebody has sworn."""
    known_peers: KnownPeers = field(init=False)
    save_files: SaveFiles | None = None
    counters: Counters | None = None
    host_memory: HostMemory | None = None
    memory_limits: MemoryLimits | None = None
    grants: Grants = field(default_factory=Grants)
    accounting: Accounting = field(init=False)
    sandbox: Sandbox | None = None
    """What keeps guests in, for those who ask; the hypervisor uses it by itself."""
    scheduling: Scheduling = field(default_factory=Scheduling)
    _jobs: Engine[Environment] | None = None

    def __post_init__(self) -> None:
        self.accounting = Accounting(self)
        self.groups = SecurityGroups(self.store)
        self.networks = Networks(self.store)
        self.cpu_pools = CpuPools(self.store, self.machine.name)
        self.qos_classes = QosClasses(self.store, self.machine.name)
        self.snapshots = Snapshots(self.store)
        self.handovers = Handovers(self.store, self.clock)
        self.known_peers = KnownPeers(self.store, self.peers)
        self.pools = Pools(self.store, self.storage, self.settings.home, self.machine.name)

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
        huge = self.host_memory.huge() if self.host_memory is not None else HugeMemory()
        return HostFacts(
            name=self.machine.name,
            cpus=now.cpus,
            memory_bytes=now.memory_bytes - huge.reserved_bytes,
            memory_available_bytes=now.available_bytes,
            can_bridge=self.network.can_bridge(),
            default_bridge=self.settings.default_bridge,
            security_groups=self.groups.names,
            networks=tuple(network.config for network in self.networks if not network.leaving),
            leaving=tuple(network.config for network in self.networks if network.leaving),
            native_requests=now.native_requests,
            cpu_model=self.settings.cpu_model,
            reporting=self.settings.reporting,
            huge=huge,
            merging=self.settings.ksm,
        )

    async def load(self) -> None:
        """Read what is recorded. ``CorruptState`` names the first record that can't be understood."""
        for registry in (
            self.networks,
            self.pools,
            self.cpu_pools,
            self.qos_classes,
            self.domains,
            self.snapshots,
            self.known_peers,
        ):
            await registry.load()

    async def plan(
        self,
        domain: Domain,
        domid: int,
        *,
        running: bool = False,
        given: GivenCpu | None = None,
        memory: GivenMemory | None = None,
        vcpus: int | None = None,
    ) -> LaunchPlan:
        """``running``: of a run that is there, which has its memory already. Of a guest that goes on from where it
        was, ``given`` is the CPU, ``memory`` what its memory is (:mod:`wirt.operations.given_memory`) and
        ``vcpus`` how many it had (:mod:`wirt.operations.present`)."""
        volumes = await self.pools.resolve(domain.config.disks)
        devices = frozenset(
            disk.target
            for disk in domain.config.disks
            if disk.target is not None and disk.volume is None and self.machine.is_block_device(disk.target)
        )
        facts, host = await self.hypervisor.facts(), self.host_facts()
        if running and domain.incarnation is not None:
            memory = given_memory.noted(domain.incarnation.notes)
        free = host.memory_bytes if running else host.memory_available_bytes - promised_bytes(self, domain.uuid)
        host = replace(host, memory_available_bytes=free, memory_nodes=memory_nodes(self, domain.config))
        if running:
            host = replace(host, huge=TAKEN)
        media = await self._media(domain.config.disks, volumes)
        return plan_launch(
            self.qos_classes.effective(domain.config),
            domain.uuid,
            domid,
            host,
            facts,
            devices,
            volumes,
            media,
            given,
            memory,
            vcpus,
        )

    async def _media(self, disks: Iterable[DiskSpec], volumes: Mapping[str, Volume]) -> Mapping[str, Medium]:
        """What the disks lie on, by path, as far as that can be found out now."""
        targets = [disk.target for disk in disks if disk.target is not None]
        paths = {volumes[target].path if target in volumes else target for target in targets}
        return {} if self.storage is None or not paths else await self.storage.media_of(paths)

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
