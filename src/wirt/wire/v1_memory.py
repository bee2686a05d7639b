"""The API's types of memory, version 1; sizes in MiB. Conventions as in :mod:`wirt.wire.v1`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MemoryRequest:
    """``mib``: what a domain is to hold, or the most that it can have."""

    mib: int


@dataclass(frozen=True, slots=True)
class MemoryMost:
    """What a domain has at its start, and the most that it can have."""

    name: str
    memory_mib: int
    maxmem_mib: int
    api: str = "v1"


@dataclass(frozen=True, slots=True)
class MemoryGuest:
    """``used`` is what the guest tells, if it does; ``target`` what it should have now, ``reason`` why.
    ``balloon``: its driver is at work. ``resident`` is what of the host's memory it has really taken, if that has
    been counted. ``reporting``: its balloon device takes reports of pages that the guest has freed. ``huge``: the
    size of the huge pages that it lies in, which are its for good. ``merging``: KSM may share it. ``hotplug`` is
    what more could be plugged in beyond ``most``, once ``wirt mem-max`` allows it."""

    name: str
    has: int
    most: int
    guaranteed: int
    overhead: int
    target: int
    reason: str
    balloon: bool
    used: int | None = None
    resident: int | None = None
    reporting: bool = False
    huge: str | None = None
    merging: bool = False
    hotplug: int = 0


@dataclass(frozen=True, slots=True)
class MemoryNode:
    """A NUMA node of the host: what memory it has, and what of that is free."""

    node: int
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class GuestNodes:
    """How much of a guest's memory lies on which node, in the order of the nodes. ``wanted``: the nodes that it is
    to come from; none: wherever there is some."""

    name: str
    lies: list[int]
    wanted: list[int]


@dataclass(frozen=True, slots=True)
class MemoryNodes:
    """``remarks``: what the machine does not tell."""

    nodes: list[MemoryNode] = field(default_factory=list)
    guests: list[GuestNodes] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    api: str = "v1"


@dataclass(frozen=True, slots=True)
class MemoryProof:
    """``what`` fits into the host, if it ``holds``; ``text`` is the sum, written out."""

    what: str
    holds: bool
    text: str


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """``total`` is without what is set aside as huge pages. ``reserve`` is Domain-0's. ``available``: what could
    be given now without swapping. ``merged``: what KSM saves now, which is counted nowhere; ``None`` where it is
    off."""

    total: int
    reserve: int
    available: int
    guests: list[MemoryGuest] = field(default_factory=list)
    proofs: list[MemoryProof] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    merged: int | None = None
    api: str = "v1"
