"""What a host can do, as facts that plans are made from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wirt.model.domain import GuestType
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

    def firmware_file(self, name: str) -> str | None:
        return dict(self.firmware_files).get(name)


@dataclass(frozen=True, slots=True)
class HostFacts:
    """``memory_available_bytes`` is what could be taken now without swapping; ``reserve_bytes`` is kept for
    Domain-0 and never given to a guest. ``can_bridge`` says whether taps and bridges may be made."""

    name: str
    cpus: int
    memory_bytes: int
    memory_available_bytes: int
    can_bridge: bool
    default_bridge: str
    reserve_bytes: int = 256 * MIB
