"""The API's types of guests that go on in a new process, version 1: fields are only added."""

from __future__ import annotations

from dataclasses import dataclass

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh came to. ``gap_s``: how long the guest stood still, by the daemon's clock; ``None`` if it was
    paused, or wirtd was started anew meanwhile. ``version`` of the hypervisor that it runs on now."""

    uuid: str
    name: str
    domid: int
    pid: int | None
    old_domid: int
    version: str
    gap_s: float | None


@dataclass(frozen=True, slots=True)
class OutdatedDomain:
    """``version`` of the hypervisor that carries it."""

    name: str
    uuid: str
    domid: int
    version: str


@dataclass(frozen=True, slots=True)
class Outdated:
    """``installed``: the version that is there now. It may be the same: then it was installed anew."""

    installed: str
    domains: list[OutdatedDomain]
    api: str = VERSION
