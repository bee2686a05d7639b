"""How a volume would be served to a guest, for those who ask before they use it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wirt.model.devices import DiskSpec
from wirt.model.storage import Volume
from wirt.operations.environment import Environment
from wirt.plan.engine import DEVICE, UNKNOWN, DiskEngine, Engines, plan_engine


@dataclass(frozen=True, slots=True)
class Choice:
    """``what`` is chosen, and why."""

    what: str
    choice: str
    reason: str


async def choices(environment: Environment, volume: Volume) -> tuple[Choice, ...]:
    """For a paravirtual disk whose entry says nothing of it. The number of queues is the guest's and not told."""
    media = {} if environment.storage is None else await environment.storage.media_of([volume.path])
    medium = media.get(volume.path, DEVICE if volume.device else UNKNOWN)
    hypervisor = await environment.hypervisor.facts()
    engines = Engines(hypervisor.missing_engines, environment.machine.now().native_requests)
    disk = DiskSpec(vdev="xvda", target=volume.path)
    return tuple(_told(plan_engine(disk, volume.format, medium, engines, volume=volume)))


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
