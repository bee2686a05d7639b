"""Adapters chosen and put together: the only place that knows them all."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from wirt.api import convert
from wirt.config.settings import DaemonSettings
from wirt.images.bootstrap.builder import SystemBuilder
from wirt.images.builder import Images
from wirt.machine import FakeHostMemory, LinuxMachine, LinuxMemory, LinuxProcessors
from wirt.model.job import Job
from wirt.network.bridges import DefaultBridge
from wirt.operations import security_groups
from wirt.operations.bus import Bus
from wirt.operations.catalogue import OPERATIONS
from wirt.operations.environment import Environment, Settings
from wirt.operations.jobs.engine import Engine
from wirt.operations.placement import Distribution, Placement, Reach
from wirt.operations.reconcile.host import HostLoop
from wirt.operations.reconcile.memory import MemoryLoop
from wirt.operations.reconcile.memory_limits import MemoryLimitsLoop
from wirt.operations.reconcile.merging import settle_merging
from wirt.operations.reconcile.network import NetworkLoop
from wirt.operations.reconcile.scheduling import SchedulingLoop
from wirt.operations.registry import Domains
from wirt.operations.scheduling import Scheduling
from wirt.plan.networks import home_tag
from wirt.ports.appliances import Appliances
from wirt.ports.backups import Backups
from wirt.ports.bootstrap import Bootstrapper
from wirt.ports.clock import Clock, SystemClock
from wirt.ports.counters import Counters
from wirt.ports.fabric import Fabric
from wirt.ports.hypervisor import Hypervisor
from wirt.ports.layers import LayerFiles
from wirt.ports.live_disks import LiveDisks
from wirt.ports.machine import Processors
from wirt.ports.memory_blocks import MemoryDisk
from wirt.ports.memory_limits import MemoryLimits
from wirt.ports.migration import LiveMigrations
from wirt.ports.network import Network
from wirt.ports.peers import Peers
from wirt.ports.sandbox import Sandbox
from wirt.ports.seeds import SeedMaker
from wirt.ports.storage import ImageTool, Storage
from wirt.ports.store import Store
from wirt.sandbox import NoSandbox, best_sandbox
from wirt.sandbox.observe import ProcObserver
from wirt.storage.boot_files import HostBootFiles
from wirt.storage.layers import HostLayerFiles
from wirt.storage.save_files import HostSaveFiles
from wirt.store.sqlite import open_sqlite_store
from wirt.wire.home import Home

STOP_GRACE_S = 10.0

Hypervisors = tuple[Hypervisor, LiveDisks, LiveMigrations]
"""Three faces of one driver."""


@asynccontextmanager
async def running_host(home: Home, settings: DaemonSettings) -> AsyncIterator[Environment]:
    """A host that has adopted what ran before, and follows it; on leaving, guests go on and the rest lets go."""
    clock = SystemClock()
    store = await open_sqlite_store(Path(home.store), clock)
    try:
        environment = await _environment(home, settings, clock, store)
        engine = Engine(environment, store, clock, OPERATIONS, lambda: uuid.uuid4().hex[:12], _teller(environment))
        environment.wire(engine)
        try:
            async with _loops(environment, settings):
                yield environment
        finally:
            await engine.stop(STOP_GRACE_S)
            await environment.hypervisor.detach()
    finally:
        await store.close()


@asynccontextmanager
async def _loops(environment: Environment, settings: DaemonSettings) -> AsyncIterator[None]:
    """What looks after the host, from when it knows what ran before."""
    loop, networks = HostLoop(environment), NetworkLoop(environment)
    scheduling = SchedulingLoop(environment)
    memory, limits = MemoryLoop(environment, settings.ballooning), MemoryLimitsLoop(environment)
    # What the first guest would wait for otherwise.
    warm_ups = (environment.hypervisor.facts(), environment.network.warm_up())
    warming = [asyncio.create_task(warm_up) for warm_up in warm_ups]
    try:
        await security_groups.restore(environment)
        await environment.load()
        await networks.prepare()
        await loop.start()
        await networks.start()
        environment.accounting.start()
        await scheduling.start()
        await settle_merging(environment)
        memory.start()
        limits.start()
        yield
    finally:
        for task in warming:
            task.cancel()
        await asyncio.gather(*warming, return_exceptions=True)
        await environment.accounting.stop()
        await scheduling.stop()
        await memory.stop()
        await limits.stop()
        await networks.stop()
        await loop.stop()


async def _environment(home: Home, settings: DaemonSettings, clock: Clock, store: Store) -> Environment:
    machine = LinuxMachine(settings.host or None)
    sandbox = await _sandbox(settings)
    storage = _storage(home, settings)
    hypervisor, live_disks, live_migrations = _hypervisor(home, settings, clock, sandbox)
    return Environment(
        settings=_settings(home, settings),
        clock=clock,
        store=store,
        machine=machine,
        hypervisor=hypervisor,
        sandbox=sandbox,
        observer=ProcObserver(),
        network=_network(home, settings, clock),
        images=Images(Path(home.images), Path(home.cache)),
        new_uuid=uuid.uuid4,
        domains=Domains(store, machine.name),
        bus=Bus(clock),
        fabric=_fabric(home, settings),
        storage=storage,
        image_tool=_image_tool(settings),
        live_disks=live_disks,
        live_migrations=live_migrations,
        layer_files=_layer_files(storage, clock),
        boot_files=HostBootFiles(Path(home.boot)),
        bootstrapper=_bootstrapper(home, settings),
        seeds=_seeds(settings),
        appliances=_appliances(settings),
        backups=_backups(hypervisor, sandbox),
        peers=_peers(home, settings, machine.name),
        save_files=HostSaveFiles(),
        counters=_counters(hypervisor, clock),
        memory_limits=_memory_limits(hypervisor),
        host_memory=FakeHostMemory() if settings.hypervisor == "fake" else LinuxMemory(),
        scheduling=_scheduling(settings, hypervisor, sandbox),
    )


def _settings(home: Home, settings: DaemonSettings) -> Settings:
    return Settings(
        runs=Path(home.domains),
        dumps=Path(home.dumps),
        default_bridge=settings.bridge,
        home=home.state,
        default_address=settings.bridge_address,
        cpu_model=settings.cpu_model,
        migrations_at_once=settings.migrations_at_once,
        reporting=settings.free_page_reporting,
        ksm=settings.ksm,
        ksm_pages=settings.ksm_pages,
        ksm_sleep_ms=settings.ksm_sleep_ms,
    )


def _teller(environment: Environment) -> Callable[[Job], None]:
    def tell(job: Job) -> None:
        data = convert.plain(convert.job(job))
        environment.bus.publish("job", job.subject, None, data)

    return tell


async def _sandbox(settings: DaemonSettings) -> Sandbox:
    if settings.hypervisor == "fake":
        return NoSandbox("the fake hypervisor keeps them in memory")
    return await best_sandbox(wanted=settings.jail)


def _hypervisor(home: Home, settings: DaemonSettings, clock: Clock, sandbox: Sandbox) -> Hypervisors:
    if settings.hypervisor == "fake":
        from wirt.hypervisors.fake import FakeHypervisor, FakeLiveDisks, FakeWorld
        from wirt.hypervisors.fake.migrations import FakeLiveMigrations

        fake = FakeHypervisor(FakeWorld(clock))
        return fake, FakeLiveDisks(fake), FakeLiveMigrations(fake)
    from wirt.hypervisors.qemu.driver import QemuHypervisor, QemuSettings
    from wirt.hypervisors.qemu.live_disks import QemuLiveDisks
    from wirt.hypervisors.qemu.migrations import QemuLiveMigrations

    qemu = QemuSettings(binary=settings.qemu, cache=Path(home.cache, "qemu.json"), passt=settings.passt)
    hypervisor = QemuHypervisor(qemu, sandbox)
    return hypervisor, QemuLiveDisks(hypervisor), QemuLiveMigrations(hypervisor)


def _counters(hypervisor: Hypervisor, clock: Clock) -> Counters:
    if hypervisor.name == "fake":
        from wirt.hypervisors.fake import FakeCounters, FakeHypervisor

        assert isinstance(hypervisor, FakeHypervisor)
        return FakeCounters(hypervisor)
    from wirt.hypervisors.qemu.counters import QemuCounters
    from wirt.hypervisors.qemu.driver import QemuHypervisor

    assert isinstance(hypervisor, QemuHypervisor)
    return QemuCounters(hypervisor, clock)


def _memory_limits(hypervisor: Hypervisor) -> MemoryLimits:
    from wirt.hypervisors.fake import FakeHypervisor

    if isinstance(hypervisor, FakeHypervisor):
        from wirt.hypervisors.fake.memory_limits import FakeMemoryLimits

        return FakeMemoryLimits(hypervisor.world)
    from wirt.sandbox.memory_limits import HostMemoryLimits

    return HostMemoryLimits()


def _scheduling(settings: DaemonSettings, hypervisor: Hypervisor, sandbox: Sandbox) -> Scheduling:
    from wirt.hypervisors.qemu.driver import QemuHypervisor
    from wirt.sandbox.shares import host_shares

    if not isinstance(hypervisor, QemuHypervisor):
        from wirt.hypervisors.fake import FakeHypervisor
        from wirt.hypervisors.fake.shares import FakeShares
        from wirt.hypervisors.fake.vcpu_threads import FakeVcpuThreads

        assert isinstance(hypervisor, FakeHypervisor)
        processors = LinuxProcessors()
        threads = FakeVcpuThreads(hypervisor, len(processors.online()))
        return Scheduling(FakeShares(hypervisor.world), threads, placement=_placement(settings, processors))
    from wirt.hypervisors.qemu.vcpu_threads import QemuVcpuThreads

    return Scheduling(
        host_shares(sandbox), QemuVcpuThreads(hypervisor), placement=_placement(settings, LinuxProcessors())
    )


def _placement(settings: DaemonSettings, processors: Processors) -> Placement:
    mode, reach = Distribution(settings.distribution), Reach(settings.distribution_reach)
    return Placement(processors, settings.domain_0_cpus, mode, reach)


def _fabric(home: Home, settings: DaemonSettings) -> Fabric:
    if settings.hypervisor == "fake":
        from wirt.network.fabric_fake import FakeFabric

        return FakeFabric()
    from wirt.network.fabric import HostFabric

    return HostFabric(home_tag(home.state), Path(home.state, "networks"))


def _storage(home: Home, settings: DaemonSettings) -> Storage:
    if settings.hypervisor == "fake":
        from wirt.storage.fake import FakeStorage

        return FakeStorage()
    from wirt.storage.host import HostStorage

    return HostStorage(Path(home.mounts))


def _layer_files(storage: Storage, clock: Clock) -> LayerFiles:
    from wirt.storage.fake import FakeStorage
    from wirt.storage.fake_layers import FakeLayerFiles

    return FakeLayerFiles(storage.media, clock) if isinstance(storage, FakeStorage) else HostLayerFiles()


def _image_tool(settings: DaemonSettings) -> ImageTool:
    if settings.hypervisor == "fake":
        from wirt.storage.fake import FakeImageTool

        return FakeImageTool()
    from wirt.storage.images import QemuImageTool

    return QemuImageTool()


def _seeds(settings: DaemonSettings) -> SeedMaker:
    if settings.hypervisor == "fake":
        from wirt.storage.fake import FakeSeeds

        return FakeSeeds()
    from wirt.storage.seeds import IsoSeeds

    return IsoSeeds()


def _bootstrapper(home: Home, settings: DaemonSettings) -> Bootstrapper | None:
    if settings.hypervisor == "fake":
        return None
    return SystemBuilder(Path(home.cache), Path(home.state))


def _appliances(settings: DaemonSettings) -> Appliances:
    if settings.hypervisor == "fake":
        from wirt.storage.appliances.fake import FakeAppliances

        return FakeAppliances()
    from wirt.storage.appliances.host import HostAppliances

    return HostAppliances()


def _backups(hypervisor: Hypervisor, sandbox: Sandbox) -> Backups:
    from wirt.storage.backup_store import DirectoryStores

    if hypervisor.name == "fake":
        from wirt.hypervisors.fake.backup import fake_backup
        from wirt.storage.fake_disks import FakeDiskServer

        disks: dict[str, MemoryDisk] = {}
        return Backups(fake_backup(hypervisor, disks), FakeDiskServer(disks), DirectoryStores())
    from wirt.hypervisors.qemu.backup import live_backup
    from wirt.storage.disk_server import QemuDiskServer

    return Backups(live_backup(hypervisor, sandbox), QemuDiskServer(), DirectoryStores())


def _network(home: Home, settings: DaemonSettings, clock: Clock) -> Network:
    default = DefaultBridge(settings.bridge, settings.bridge_address)
    if settings.hypervisor == "fake":
        from wirt.network.fake import FakeNetwork

        return FakeNetwork(default, clock)
    from wirt.network.host import HostNetwork

    return HostNetwork(default, clock, name=f"wirt-{home_tag(home.state)}")


def _peers(home: Home, settings: DaemonSettings, name: str) -> Peers:
    from wirt.peers.host import HostPeers, PeerSettings
    from wirt.peers.ssh import Ssh

    return HostPeers(
        PeerSettings(
            name=name,
            directory=Path(home.state, "peers"),
            doors=Path(home.run, "doors"),
            listen=settings.peer_listen,
            ports=settings.migration_ports,
            ssh=Ssh(settings.ssh, settings.remote_wirt),
        )
    )
