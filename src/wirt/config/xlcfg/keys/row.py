"""One row of the table of keys."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wirt.model.domain import GuestType

EVERY_GUEST = frozenset(GuestType)
HVM = frozenset({GuestType.HVM})
PVH = frozenset({GuestType.PVH})
PV = frozenset({GuestType.PV})

QEMU = frozenset({"qemu"})
NOWHERE: frozenset[str] = frozenset()


class Kind(StrEnum):
    """The shape of a value. A key with several kinds takes any of them."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean (0 or 1)"
    STRINGS = "list of strings"
    NESTED = "list of lists"


class Group(StrEnum):
    """The parts of the manual page, in its order."""

    IDENTITY = "Name and guest type"
    CPU = "Processors"
    MEMORY = "Memory"
    EVENTS = "What follows when a run ends"
    BOOT = "Booting"
    OTHER = "Other options of any guest"
    DEVICES = "Devices"
    PASSTHROUGH = "Host devices handed to the guest"
    BOOTLOADER = "Boot loaders in Domain-0 (pv, pvh)"
    PLATFORM = "Platform of hvm guests"
    TIME = "Time"
    GRAPHICS = "Graphics"
    SPICE = "Spice"
    HARDWARE = "Other emulated hardware"
    DEVICE_MODEL = "Device model"
    ARCHITECTURE = "Architecture"


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of one key.

    ``choices`` are the only strings it takes (none: any). ``low`` and ``high`` bound its numbers. ``default``
    is what holds when the key is absent, in words or as a value. ``guests`` are the guest types it means
    something to. ``honoured`` names the hypervisors on which wirt acts on it. ``instead`` is what replaced a
    deprecated key. ``path`` marks a file on the host, which a relative value names from the directory that
    the file was loaded in. A ``secret`` is stored and never shown.
    """

    name: str
    kinds: tuple[Kind, ...]
    group: Group
    help: str
    default: str | None = None
    choices: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None
    guests: frozenset[GuestType] = EVERY_GUEST
    honoured: frozenset[str] = NOWHERE
    instead: str | None = None
    path: bool = False
    secret: bool = False

    @property
    def type(self) -> str:
        """The kinds in words, as ``wirt help keys`` prints them."""
        return " or ".join(self.kinds)


TEXT = (Kind.STRING,)
NUMBER = (Kind.NUMBER,)
BOOLEAN = (Kind.BOOLEAN,)
STRINGS = (Kind.STRINGS,)
NESTED = (Kind.NESTED,)
TEXT_OR_STRINGS = (Kind.STRING, Kind.STRINGS)
TEXT_OR_NUMBER = (Kind.STRING, Kind.NUMBER)
