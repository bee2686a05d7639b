"""How a volume is served to a guest: one that a running guest is to go on in, and one that somebody asks about
before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wirt.model.devices import DiskSpec
from wirt.model.domain import Domain
from wirt.model.storage import Volume
from wirt.operations.environment import Environment
from wirt.plan.engine import DEVICE, UNKNOWN, DiskEngine, Engines, Medium, plan_engine
from wirt.plan.launch import plan_layer


@dataclass(frozen=True, slots=True)
class Choice:
    """``what`` is chosen, and why."""

    what: str
    choice: str
    reason: str


async def choices(environment: Environment, volume: Volume) -> tuple[Choice, ...]:
    """For a paravirtual disk whose entry says nothing of it. The number of queues is the guest's and not told."""
    medium = await _medium(environment, volume)
    hypervisor = await environment.hypervisor.facts()
    engines = Engines(hypervisor.missing_engines, environment.machine.now().native_requests)
    disk = DiskSpec(vdev="xvda", target=volume.path)
    return tuple(_told(plan_engine(disk, volume.format, medium, engines, volume=volume)))


async def engine_of_layer(environment: Environment, domain: Domain, vdev: str, layer: Volume) -> DiskEngine:
    """For a running domain whose disk is to go on in ``layer``, which may lie elsewhere than the disk did."""
    disk = next(disk for disk in domain.config.disks if disk.vdev == vdev)
    medium, facts = await _medium(environment, layer), await environment.hypervisor.facts()
    return plan_layer(domain.config, disk, layer, medium, environment.host_facts(), facts)


async def _medium(environment: Environment, volume: Volume) -> Medium:
    media = {} if environment.storage is None else await environment.storage.media_of([volume.path])
    return media.get(volume.path, DEVICE if volume.device else UNKNOWN)


def _told(engine: DiskEngine) -> Iterator[Choice]:
    chosen = {
        "cache": str(engine.cache),
        "aio": str(engine.aio),
        "discard": "yes" if engine.discard else "no",
        "detect_zeroes": str(engine.detect_zeroes),
        "iothread": engine.iothread or "none",
    }
    for what, choice in chosen.items():
        yield Choice(what, choice, engine.reasons[what])
