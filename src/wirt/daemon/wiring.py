"""Adapters chosen and put together: the only place that knows them all."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from wirt.api import convert
from wirt.config.settings import DaemonSettings
from wirt.images.builder import Images
from wirt.machine import LinuxMachine
from wirt.model.job import Job
from wirt.network.bridges import DefaultBridge
from wirt.operations.bus import Bus
from wirt.operations.catalogue import OPERATIONS
from wirt.operations.environment import Environment, Settings
from wirt.operations.jobs.engine import Engine
from wirt.operations.reconcile.host import HostLoop
from wirt.operations.registry import Domains
from wirt.ports.clock import Clock, SystemClock
from wirt.ports.hypervisor import Hypervisor
from wirt.ports.network import Network
from wirt.sandbox import HostSandbox
from wirt.store.sqlite import open_sqlite_store
from wirt.wire.home import Home

STOP_GRACE_S = 10.0


@asynccontextmanager
async def running_host(home: Home, settings: DaemonSettings) -> AsyncIterator[Environment]:
    """A host that has adopted what ran before, and follows it; on leaving, guests go on and the rest lets go."""
    clock = SystemClock()
    store = await open_sqlite_store(Path(home.store), clock)
    try:
        machine = LinuxMachine(settings.host or None)
        hypervisor = _hypervisor(home, settings, clock)
        environment = Environment(
            settings=Settings(
                runs=Path(home.domains),
                dumps=Path(home.dumps),
                default_bridge=settings.bridge,
                home=home.state,
            ),
            clock=clock,
            store=store,
            machine=machine,
            hypervisor=hypervisor,
            network=_network(settings, clock),
            images=Images(Path(home.images), Path(home.cache)),
            new_uuid=uuid.uuid4,
            domains=Domains(store, machine.name),
            bus=Bus(clock),
        )
        engine = Engine(environment, store, clock, OPERATIONS, lambda: uuid.uuid4().hex[:12], _teller(environment))
        environment.wire(engine)
        loop = HostLoop(environment)
        # What the first guest would wait for otherwise.
        warming = [asyncio.create_task(hypervisor.facts()), asyncio.create_task(environment.network.warm_up())]
        try:
            await loop.start()
            yield environment
        finally:
            for task in warming:
                task.cancel()
            await asyncio.gather(*warming, return_exceptions=True)
            await loop.stop()
            await engine.stop(STOP_GRACE_S)
            await hypervisor.detach()
    finally:
        await store.close()


def _teller(environment: Environment) -> Callable[[Job], None]:
    def tell(job: Job) -> None:
        data = convert.plain(convert.job(job))
        environment.bus.publish("job", job.subject, None, data)

    return tell


def _hypervisor(home: Home, settings: DaemonSettings, clock: Clock) -> Hypervisor:
    if settings.hypervisor == "fake":
        from wirt.hypervisors.fake import FakeHypervisor, FakeWorld

        return FakeHypervisor(FakeWorld(clock))
    from wirt.hypervisors.qemu.driver import QemuHypervisor, QemuSettings

    sandbox = HostSandbox.here() if settings.jail else None
    return QemuHypervisor(QemuSettings(binary=settings.qemu, cache=Path(home.cache, "qemu.json")), sandbox)


def _network(settings: DaemonSettings, clock: Clock) -> Network:
    default = DefaultBridge(settings.bridge, settings.bridge_address)
    if settings.hypervisor == "fake":
        from wirt.network.fake import FakeNetwork

        return FakeNetwork(default, clock)
    from wirt.network.host import HostNetwork

    return HostNetwork(default, clock)
