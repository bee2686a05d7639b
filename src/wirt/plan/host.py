"""What a host can do, as facts that plans are made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from wirt.model.cpu import CpuOffer
from wirt.model.domain import GuestType
from wirt.model.engine import Aio
from wirt.model.memory import HugeMemory
from wirt.model.network import NetworkConfig
from wirt.model.units import MIB


class Accelerator(StrEnum):
    KVM = "kvm"
    TCG = "tcg"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class HypervisorFacts:
    """What a driver found out about itself. ``accelerator_reason`` is one sentence for ``wirt info``."""

    name: str
    version: tuple[int, int, int]
    accelerator: Accelerator
    accelerator_reason: str
    guest_types: frozenset[GuestType]
    notes: tuple[str, ...] = ()
    firmware_files: tuple[tuple[str, str], ...] = ()
    missing_engines: tuple[tuple[Aio, str], ...] = ()
    """Those that disks can't be served with here, and why."""
    cpu: CpuOffer | None = None
    """What guests' CPUs can be here; ``None``: that could not be found out."""

    def firmware_file(self, name: str) -> str | None:
        return dict(self.firmware_files).get(name)


@dataclass(frozen=True, slots=True)
class HostFacts:
    """``memory_bytes`` is without what is set aside as huge pages. ``memory_available_bytes`` is what could be
    taken now without swapping; ``reserve_bytes`` is kept for Domain-0 and never given to a guest. ``can_bridge``
    says whether taps and bridges may be made."""

    name: str
    cpus: int
    memory_bytes: int
    memory_available_bytes: int
    can_bridge: bool
    default_bridge: str
    reserve_bytes: int = 256 * MIB
    security_groups: frozenset[str] = frozenset()
    """Those that a card may be in."""
    networks: tuple[NetworkConfig, ...] = ()
    """Those that a card may be plugged into by name, besides the default one."""
    leaving: tuple[NetworkConfig, ...] = ()
    """Those that are being destroyed, so that no card may."""
    native_requests: int = 65536
    """How many requests of Linux AIO may still be reserved (fs.aio-max-nr less fs.aio-nr)."""
    cpu_model: str | None = None
    """Of domains that name none (``cpu-model`` in wirt.toml)."""
    reporting: bool = True
    """Guests that don't say otherwise give freed pages back (``free-page-reporting`` in wirt.toml)."""
    huge: HugeMemory = field(default_factory=HugeMemory)
    merging: bool = False
    """KSM may share what guests have alike (``ksm`` in wirt.toml)."""
    memory_nodes: tuple[int, ...] = ()
    """Those that the guest's memory is to come from."""
