"""A whole host in memory, and a way to fail or crash it at any step of any operation."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

from tests.operations.bootstrap_kit import FakeBootstrapper

from wirt.hypervisors.fake import DaemonKilled, FakeCounters, FakeHypervisor, FakeLiveDisks, FakeWorld
from wirt.hypervisors.fake.backup import FakeLiveBackup
from wirt.hypervisors.fake.memory_limits import FakeMemoryLimits
from wirt.hypervisors.fake.migrations import FakeLiveMigrations
from wirt.hypervisors.fake.shares import FakeShares
from wirt.hypervisors.fake.vcpu_threads import FakeVcpuThreads
from wirt.machine import FakeHostMemory
from wirt.model.devices import devids
from wirt.model.domain import Domain
from wirt.model.errors import HypervisorError
from wirt.model.job import Job
from wirt.model.lifecycle import State
from wirt.model.storage import VolumeRef
from wirt.model.topology import Cpu, Node, Topology
from wirt.model.units import GIB
from wirt.network.bridges import DefaultBridge
from wirt.network.fabric_fake import FakeFabric
from wirt.network.fake import FakeNetwork
from wirt.operations import records
from wirt.operations.bus import Bus
from wirt.operations.catalogue import OPERATIONS
from wirt.operations.create import Source, create
from wirt.operations.environment import Environment, Settings
from wirt.operations.jobs.engine import Engine, Hooks
from wirt.operations.networks_upkeep import planned
from wirt.operations.placement import Placement
from wirt.operations.reconcile.host import HostLoop
from wirt.operations.reconcile.network import NetworkLoop
from wirt.operations.registry import Domains
from wirt.operations.scheduling import Scheduling
from wirt.operations.template import volumes_of_template
from wirt.peers.fake import FakeLinks
from wirt.ports.backup_store import Work
from wirt.ports.backups import Backups
from wirt.ports.images import GuestImage, Progress
from wirt.ports.machine import MachineNow
from wirt.ports.memory_blocks import MemoryDisk
from wirt.ports.peers import Peers
from wirt.ports.virtual_clock import VirtualClock
from wirt.storage.appliances.fake import FakeAppliances
from wirt.storage.backup_store import DirectoryStores
from wirt.storage.fake import FakeImageTool, FakeMedium, FakeSeeds, FakeStorage
from wirt.storage.fake_boot_files import FakeBootFiles
from wirt.storage.fake_disks import FakeDiskServer
from wirt.storage.fake_layers import FakeLayerFiles
from wirt.storage.save_files import HostSaveFiles
from wirt.store.memory import MemoryStore

SETTLE_TURNS = 200


@dataclass
class FakeMachine:
    """``absent`` maps paths to why they can't be opened; everything else is there."""

    name: str = "host1"
    absent: dict[str, str] = field(default_factory=dict)
    available_bytes: int = 8 * GIB
    cpu_time_s: float = 10.0

    def now(self) -> MachineNow:
        return MachineNow(4, 16 * GIB, self.available_bytes, self.cpu_time_s, 100.0, "6.1", "x86_64")

    def missing(self, path: str, *, write: bool) -> str | None:
        return self.absent.get(path)

    def is_block_device(self, path: str) -> bool:
        return path.startswith("/dev/")

    def resident_bytes(self, pid: int) -> int:
        return 0


@dataclass
class FakeProcessors:
    """``caches``: the CPUs at each cache, each cache on a node of its own."""

    caches: tuple[tuple[int, ...], ...] = ((0, 1), (2, 3))
    offline: tuple[int, ...] = ()

    def online(self) -> frozenset[int]:
        return frozenset(cpu.id for cpu in self.topology().cpus)

    def topology(self) -> Topology:
        cpus = tuple(
            Cpu(cpu, cpu, (cpu,), node, cache[0], node)
            for node, cache in enumerate(self.caches)
            for cpu in cache
            if cpu not in self.offline
        )
        return Topology(cpus, tuple(Node(node, 4 * GIB) for node in range(len(self.caches))), self.offline)


@dataclass
class FakeImages:
    """``going`` is set while a build waits to be let go by ``finish``."""

    going: asyncio.Event = field(default_factory=asyncio.Event)
    finish: asyncio.Event = field(default_factory=asyncio.Event)

    def recipes(self) -> tuple[str, ...]:
        return ("tiny",)

    def finished(self) -> tuple[GuestImage, ...]:
        return ()

    async def build(self, name: str, progress: Progress) -> GuestImage:
        progress("half way", 0.5)
        self.going.set()
        await self.finish.wait()
        return GuestImage(name, "/k", "/i", "/d", "f")


class Below(dict[str, tuple[str, ...]]):
    """What the images of the pools in memory stand on now, by their paths."""

    def __init__(self, storage: FakeStorage) -> None:
        self._storage = storage

    def get(self, path: str, default: object = None) -> tuple[str, ...]:
        for medium in self._storage.media.values():
            volume = next((each for each in medium.volumes.values() if each.path == path), None)
            if volume is not None and volume.backing in medium.volumes:
                below = medium.volumes[volume.backing].path
                return (below, *self.get(below))
        return super().get(path, ())


class SimulatedHost:
    """Hardware and store that outlive any number of daemons; ``environment`` is the present daemon's."""

    def __init__(
        self,
        directory: Path,
        seed: int = 1,
        clock: VirtualClock | None = None,
        media: dict[str, FakeMedium] | None = None,
    ) -> None:
        self.clock = clock or VirtualClock()
        self.store = MemoryStore(self.clock)
        self.world = FakeWorld(self.clock)
        self.machine = FakeMachine()
        self.images = FakeImages()
        self.processors = FakeProcessors()
        self.host_memory = FakeHostMemory()
        self.memory_limits = FakeMemoryLimits(self.world)
        self.fabric = FakeFabric()
        self.storage = FakeStorage(media)
        self.image_tool = FakeImageTool(media=self.storage.media)
        self.world.backing = Below(self.storage)
        self.world.on_merge = self._merged
        self.layer_files = FakeLayerFiles(self.storage.media, self.clock)
        self.boot_files = FakeBootFiles(self.layer_files.files)
        self.seeds = FakeSeeds()
        self.bootstrapper = FakeBootstrapper(self.image_tool)
        self.appliances = FakeAppliances()
        self.links = FakeLinks(self.clock)
        self.random = random.Random(seed)
        self._directory = directory
        self.contents: dict[str, MemoryDisk] = {}
        self.place = directory / "backups"
        self.live_backup = FakeLiveBackup(self.world, self.contents)
        self.disk_server = FakeDiskServer(self.contents)
        self.peers: Peers | None = None
        self.environment: Environment
        self.engine: Engine[Environment]
        self._loop: HostLoop | None = None

    async def boot(self, hooks: Hooks | None = None) -> None:
        """Start a daemon on what is there. ``peers``: how it reaches others."""
        self.network = FakeNetwork(DefaultBridge(), self.clock)
        hypervisor = FakeHypervisor(self.world)
        self.shares, self.threads = FakeShares(self.world), FakeVcpuThreads(hypervisor)
        settings = Settings(self._directory / "runs", self._directory / "dumps", "wirtbr0", "/home")
        self.environment = Environment(
            settings=settings,
            clock=self.clock,
            store=self.store,
            machine=self.machine,
            hypervisor=hypervisor,
            network=self.network,
            images=self.images,
            new_uuid=self.new_uuid,
            domains=Domains(self.store, self.machine.name),
            bus=Bus(self.clock),
            fabric=self.fabric,
            storage=self.storage,
            image_tool=self.image_tool,
            live_disks=FakeLiveDisks(hypervisor),
            live_migrations=FakeLiveMigrations(hypervisor),
            layer_files=self.layer_files,
            boot_files=self.boot_files,
            peers=self.peers or self.links.host(self.machine.name),
            bootstrapper=self.bootstrapper,
            seeds=self.seeds,
            appliances=self.appliances,
            backups=Backups(self.live_backup, self.disk_server, DirectoryStores()),
            save_files=HostSaveFiles(),
            counters=FakeCounters(hypervisor),
            host_memory=self.host_memory,
            memory_limits=self.memory_limits,
            scheduling=Scheduling(self.shares, self.threads, placement=Placement(self.processors)),
        )
        self.engine = Engine(
            self.environment,
            self.store,
            self.clock,
            OPERATIONS,
            lambda: f"{self.random.getrandbits(48):012x}",
            lambda job: None,
            hooks,
        )
        self.environment.wire(self.engine)
        await self.environment.load()
        self._loop = HostLoop(self.environment)
        await self._loop.start()

    async def crash(self) -> None:
        """As kill -9: nothing of the daemon acts any more, and every guest goes on."""
        self.world.kill_daemon()
        await self.engine.abandon()
        await self._stop_loop()

    async def stop(self) -> None:
        await self._stop_loop()
        await self.engine.stop(1.0)

    async def _stop_loop(self) -> None:
        if self._loop is not None:
            await self._loop.stop()
            self._loop = None

    def new_uuid(self) -> UUID:
        return UUID(int=self.random.getrandbits(128), version=4)

    async def settle(self) -> None:
        """Until nothing moves by itself any more."""
        quiet = 0
        for turn in range(SETTLE_TURNS * 10):
            # Now and then some real time: what touches files does so on a thread.
            await asyncio.sleep(0.001 if turn % 50 == 49 else 0)
        for _ in range(SETTLE_TURNS * 10):
            await asyncio.sleep(0)
            while any(thread.name == "wirt-work" for thread in threading.enumerate()):
                await asyncio.sleep(0.001)
            busy = any(not job.state.finished for job in self.engine.all())
            quiet = 0 if busy else quiet + 1
            if quiet > SETTLE_TURNS:
                return

    async def create(self, text: str = "", *, name: str = "web", paused: bool = False, **more: bool) -> Job:
        source = Source(config(name, text), "web.cfg", "/cfg")
        job = await create(self.environment, source, paused=paused, **more)
        return await self.engine.wait(job.id)

    def _merged(self, path: str, below: str) -> None:
        for medium in self.storage.media.values():
            paths = {volume.path: volume for volume in medium.volumes.values()}
            if path in paths:
                medium.merge(path, below)
                # QEMU writes into the image above what it stands on now.
                for each in list(paths.values()):
                    if each.backing == paths[path].name:
                        medium.volumes[each.name] = replace(each, backing=paths[below].name)

    def live_guests(self) -> list[UUID]:
        return sorted((guest.domain for guest in self.world.guests() if not guest.gone), key=str)

    async def assert_consistent(self) -> None:
        """What must hold whenever nothing is under way, whatever went wrong before."""
        domains = list(self.environment.domains)
        assert all(job.state.finished for job in self.engine.all()), self.engine.all()
        live = self.live_guests()
        assert len(live) == len(set(live)), "two runs of one domain"
        running = sorted((d.uuid for d in domains if d.incarnation and d.state is not State.OFF), key=str)
        assert live == running, f"runs {live}, records {running}"
        names = {e.key: e.value.decode() for e in (await self.store.list(records.NAMES)).entries}
        assert names == {records.name_key(d.name): str(d.uuid) for d in domains}
        stored = {e.key for e in (await self.store.list(records.INCARNATIONS)).entries}
        assert stored == {records.incarnation_key(d.uuid) for d in domains if d.incarnation}
        assert all(d.persistent or d.incarnation for d in domains), "a transient domain is off and known"
        await self._assert_networks()
        await self._assert_volumes()
        await self._assert_snapshots()
        self._assert_backups()
        for domain in domains:
            if domain.state in (State.RUNNING, State.PAUSED):
                self._assert_cards(domain)
                guest = self.world.guest(domain.uuid)
                assert guest.vcpus - len(guest.unused) == domain.config.vcpus, "it uses what is recorded"

    async def _assert_networks(self) -> None:
        """The host has what is recorded, and nothing of what is not."""
        await NetworkLoop(self.environment).look()
        assert not [network for network in self.environment.networks if network.leaving]
        assert (await planned(self.environment)).actions == ()

    async def _assert_volumes(self) -> None:
        """Who has volumes is who runs with them, or keeps them as a template; what domains have among their disks
        is there; no job has any."""
        pools = self.environment.pools
        has = {(str(ref), holder.domain) for ref, holder in pools.holders}
        ours = [(disk.volume, d) for d in self.environment.domains for disk in d.config.disks if disk.volume]
        kept = {(str(ref), str(d.uuid)) for _, d in ours if d.template for ref in volumes_of_template(d)}
        assert has == kept | {(volume, str(d.uuid)) for volume, d in ours if d.incarnation is not None}
        stored = (await self.store.list(records.VOLUMES)).entries
        assert {entry.key.removeprefix(records.VOLUMES) for entry in stored} == {volume for volume, _ in has}
        for volume, _ in ours:
            await pools.volume(VolumeRef.parse(volume))
        assert not [pool for pool in pools if pool.leaving]
        assert self.bootstrapper.scratches == set()
        assert self.appliances.scratches == set()

    async def _assert_snapshots(self) -> None:
        """What snapshots keep is there; guests write the very images that their domains have."""
        pools, snapshots = self.environment.pools, self.environment.snapshots
        for tree in snapshots:
            for kept in tree.disks():
                assert tree.unfinished or await pools.volume(VolumeRef.parse(kept.kept))
            assert tree.head is None or tree.get(tree.head) is not None
        for domain in self.environment.domains:
            stale = {disk.vdev for disk in snapshots.of(domain.uuid).disks() if disk.current}
            for disk in domain.config.disks:
                if domain.uuid in self.live_guests() and disk.volume is not None and disk.vdev not in stale:
                    volume = await pools.volume(VolumeRef.parse(disk.volume))
                    assert self.world.guest(domain.uuid).disks.find(disk.vdev).chain[0] == volume.path

    def _assert_backups(self) -> None:
        """What is listed is whole, and nothing is half there: in the place, in the guests, in the pools."""
        assert self.world.backups == {}
        for medium in self.storage.media.values():
            assert not [name for name in medium.volumes if name.startswith("verify-")]
        if not self.place.exists():
            return
        store = DirectoryStores().open(str(self.place))
        assert not list((self.place / "partial").iterdir())
        listing = store.all()
        assert listing.problems == ()
        for backup in listing.backups:
            store.verify(backup, Work(threading.Event(), lambda size: None))

    def _assert_cards(self, domain: Domain) -> None:
        """Guest, run record and configuration have the same cards, but for those that the guest did away with;
        none is half there."""
        assert domain.incarnation is not None
        notes = domain.incarnation.notes
        noted = {int(key.split(".")[1]) for key in notes if key.startswith("kind.")}
        guest = self.world.guest(domain.uuid)
        has, configured = guest.links, set(devids(domain.config.vifs))
        assert set(has) == noted <= configured, f"{domain.name}: {has} {noted} {domain.text}"
        assert configured - noted <= guest.thrown_out, f"{domain.name}: {has} {domain.text}"
        assert has == {devid: notes.get(f"link.{devid}", "up") == "up" for devid in noted}


def config(name: str = "web", more: str = "") -> str:
    return f'name = "{name}"\ntype = "pvh"\nkernel = "/boot/vmlinuz"\nmemory = 128\nvif = [""]\n{more}\n'


class Strike(Hooks):
    """Does ``what`` once, before or after the step called ``step`` of the first job of ``kind``."""

    def __init__(self, kind: str, step: str, when: str, what: Callable[[Job], None]) -> None:
        self._kind, self._step, self._when, self._what = kind, step, when, what
        self.struck = False

    async def before(self, job: Job, step: str) -> None:
        await self._strike(job, step, "before")

    async def after(self, job: Job, step: str) -> None:
        await self._strike(job, step, "after")

    async def _strike(self, job: Job, step: str, when: str) -> None:
        if not self.struck and (job.kind, step, when) == (self._kind, self._step, self._when):
            self.struck = True
            self._what(job)
            await asyncio.sleep(0)


def fail(job: Job) -> None:
    raise HypervisorError(f"struck in {job.kind}")


def crash(job: Job) -> None:
    raise DaemonKilled
