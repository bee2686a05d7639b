"""Wire types of guests' CPUs; as in :mod:`wirt.wire.v1`, fields are only ever added. Features have QEMU's
names."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class CpuModel:
    """``missing``: what keeps the host from offering it; its ``features`` are not told then."""

    name: str
    features: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class HostCpu:
    """What guests of one host can be given. ``default`` is what a domain gets that says nothing."""

    host: str
    accelerator: str
    hypervisor_version: list[int]
    vendor: str
    identity: str
    default: str
    features: list[str] = field(default_factory=list)
    models: list[CpuModel] = field(default_factory=list)
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class BaselineRequest:
    """``hosts`` as ``wirt migrate`` takes them; none: all peers. This host is always one of them."""

    hosts: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class HeldBack:
    """``features`` are what all others have and ``host`` lacks."""

    host: str
    features: list[str]


@dataclass(frozen=True, slots=True)
class NotAsked:
    """A host that the baseline does not speak for, and why."""

    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class CpuBaseline:
    """``cpu_model`` is what to write into a configuration; ``base`` the model in it, ``features`` all that it
    comes to."""

    cpu_model: str
    base: str
    accelerator: str
    features: list[str]
    hosts: list[str]
    held_back: list[HeldBack] = field(default_factory=list)
    not_asked: list[NotAsked] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    api: str = VERSION
