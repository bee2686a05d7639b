"""Memory that is plugged into a guest of QEMU and out of it again (QMP reference, ``query-memory-devices``; QEMU,
docs/system/devices/virtio/virtio-mem; VIRTIO 1.2, section 5.15)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wirt.hypervisors.qemu import answers
from wirt.hypervisors.qemu.monitor import Monitor
from wirt.model.units import MIB

ID, BACKEND = "hotplug", "hotplug-memory"
DEVICE = f"/machine/peripheral/{ID}"


_SIZE, _HOTPLUG = "memory_mib", "hotplug_mib"
"""In an incarnation's notes."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a QEMU was started with, in MiB, and what can be plugged in beyond."""

    mib: int
    hotplug: int = 0

    @classmethod
    def noted(cls, notes: Mapping[str, str]) -> Sizes:
        return cls(int(notes.get(_SIZE, "0")), int(notes.get(_HOTPLUG, "0")))

    def notes(self) -> dict[str, str]:
        return {_SIZE: str(self.mib), _HOTPLUG: str(self.hotplug)}


@dataclass(frozen=True, slots=True)
class PluggedMemory:
    """In MiB: ``size`` the guest has, of ``requested``, which it is to have, and ``most``. ``driver``: its driver
    is at work."""

    size: int = 0
    requested: int = 0
    most: int = 0
    driver: bool = False


NONE = PluggedMemory()


async def look(monitor: Monitor) -> PluggedMemory:
    """Of a guest that has the device. ``Malformed``, and errors of the monitor."""
    size, requested, most = answers.plugged_memory(await monitor.execute("query-memory-devices"), ID)
    status = await monitor.execute("x-query-virtio-status", {"path": f"{DEVICE}/virtio-backend"})
    return PluggedMemory(size // MIB, requested // MIB, most // MIB, answers.driver_ready(status))


async def ask(monitor: Monitor, mib: int) -> None:
    """Whole steps (:data:`~wirt.model.memory.PLUG_STEP_MIB`). The guest takes and gives them in its own time."""
    await monitor.execute("qom-set", {"path": DEVICE, "property": "requested-size", "value": mib * MIB})
