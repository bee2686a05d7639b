"""The API's types of domains that move to other hosts, version 1: fields are only added."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MigrateRequest:
    """``target``: a peer's name, or ``ssh://[USER@]HOST[:PORT]``. ``with_storage``: volumes that the domain writes
    come along, into ``to_pool`` if that is named; ``keep``: they stay on the source too; ``flatten``: each as one
    whole image, whatever it stands on here. ``bandwidth`` as in ``100M``: bytes a second. ``postcopy``: ``auto``,
    ``never`` or ``now``. ``offline``: a domain that is off, or one that is shut down for it, within ``timeout_s``,
    and started there. ``batch`` names those that are moved together, ``of`` is how many these are, ``at_once`` how
    many of them go side by side at most; ``bandwidth`` is what these share."""

    target: str
    with_storage: bool = False
    to_pool: str | None = None
    keep: bool = False
    bandwidth: str | None = None
    max_downtime_ms: int = 300
    compress: bool = False
    postcopy: str = "never"
    offline: bool = False
    timeout_s: float = 120.0
    batch: str | None = None
    of: int = 1
    at_once: int | None = None
    flatten: bool = False


@dataclass(frozen=True, slots=True)
class MoveRemark:
    """Something that speaks against the move. ``blocks``: it can't be done so."""

    blocks: bool
    what: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class MovedLayer:
    """``copied`` into ``volume`` of the target; else that one has the same content."""

    volume: str
    copied: bool


@dataclass(frozen=True, slots=True)
class MovedDisk:
    """``shared``: both hosts have it. Else it is copied, into ``volume`` of the target, which stands on ``layers``
    there, the lowest first."""

    vdev: str
    shared: bool
    volume: str | None = None
    layers: list[MovedLayer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class MovedFile:
    """The domain's ``kernel`` or ``ramdisk``: ``copied`` to ``path`` of the target, or there already. In bytes."""

    key: str
    path: str
    length: int
    copied: bool


@dataclass(frozen=True, slots=True)
class MoveForecast:
    """``way``: precopy, converging, postcopy, stopped or offline. Rates are bytes a second, ``None`` where not
    measured."""

    way: str
    total_s: float
    sent_bytes: int
    blackout_s: float
    rounds: int
    why: str
    dirty_bytes_per_s: int | None = None
    link_bytes_per_s: int | None = None


@dataclass(frozen=True, slots=True)
class MovePlan:
    """What ``migrate`` would do; nothing has been done."""

    domain: str
    source: str
    target: str
    possible: bool
    forecast: MoveForecast
    remarks: list[MoveRemark] = field(default_factory=list)
    disks: list[MovedDisk] = field(default_factory=list)
    files: list[MovedFile] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of a move. Times in seconds. ``blackout_s``: from the guest's last instruction on the source to
    its first on the target; ``downtime_s``: what the hypervisor says of that. ``outcome``: ``runs`` or ``paused``,
    else what became of the guest. ``disk_s``: copying disks. ``lost_frames`` came to its cards while it stood
    still; ``clock_step_s``: by how much its clock was set."""

    handover: str
    uuid: str
    domain: str
    source: str
    target: str
    began_at: float
    total_s: float
    outcome: str
    way: str
    sent_bytes: int = 0
    disk_bytes: int = 0
    rounds: int = 0
    throttle_percent: int = 0
    blackout_s: float | None = None
    downtime_s: float | None = None
    link_bytes_per_s: int = 0
    forecast: MoveForecast | None = None
    disk_s: float | None = None
    lost_frames: int | None = None
    clock_step_s: float | None = None


@dataclass(frozen=True, slots=True)
class ReceiptList:
    """``migrations``, the oldest first."""

    migrations: list[Receipt] = field(default_factory=list)
