"""What a move of a running guest is: why not, what is expected of it, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Of one hand-over, decided once by the host that receives. Until then it is ``open``."""

    OPEN = "open"
    OWNED = "owned"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that speaks against a move. ``blocks``: it can't be done so."""

    blocks: bool
    what: str
    remedy: str | None = None


class Way(StrEnum):
    """How memory travels. ``precopy``: the guest runs here until the rest is small. ``converging``: it is slowed
    down meanwhile. ``postcopy``: it goes over early and fetches the rest. ``stopped``: it stands still all the
    time. ``offline``: it is off, and only its record moves, and its disks if they are to."""

    PRECOPY = "precopy"
    CONVERGING = "converging"
    POSTCOPY = "postcopy"
    STOPPED = "stopped"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected. ``dirty_bytes_per_s`` and ``link_bytes_per_s`` are what it was made from; ``None`` where
    that was not measured."""

    way: Way
    total_s: float
    sent_bytes: int
    blackout_s: float
    rounds: int
    dirty_bytes_per_s: int | None
    link_bytes_per_s: int | None
    why: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of a move. Times in seconds; moments in seconds since the epoch by the source's clock.

    ``blackout_s`` is from the moment the guest stood still on the source to its first instruction on the target,
    the two clocks compared by the requests between the hosts; ``downtime_s`` what the hypervisor itself says.
    ``total_s`` is until the target has all of it and runs it. ``lost_frames`` came to the guest's cards on the
    source while it stood still there; ``clock_step_s`` is by how much its clock was set, through its agent, on the
    target.
    ``None``: not known.
    """

    handover: str
    uuid: str
    domain: str
    source: str
    target: str
    began_at: float
    total_s: float
    outcome: str
    sent_bytes: int = 0
    disk_bytes: int = 0
    rounds: int = 0
    throttle_percent: int = 0
    blackout_s: float | None = None
    downtime_s: float | None = None
    forecast: Forecast | None = None
    way: str = Way.PRECOPY
    link_bytes_per_s: int = 0
    disk_s: float | None = None
    lost_frames: int | None = None
    clock_step_s: float | None = None
