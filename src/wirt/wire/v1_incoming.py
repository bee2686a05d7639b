"""What two hosts' daemons say to each other while a domain moves, version 1: fields are only added.

The source asks, the target answers; ``docs/migration.md`` has the order. All sizes are in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OfferedLayer:
    """What a disk stands on, and nobody writes. ``name`` is the volume's on the source, ``size`` what a guest
    would see, ``length`` the file's; ``digest`` as :class:`wirt.ports.layers.Content` says."""

    name: str
    format: str
    size: int
    length: int
    digest: str


@dataclass(frozen=True, slots=True)
class OfferedDisk:
    """``volume`` is ``POOL/VOLUME``, else ``path``; neither is an empty drive. ``copied``: its content comes
    along, into ``into`` (``POOL/VOLUME``) or, when that is ``None``, where the target sees fit. ``proof`` is what
    the source has left beside it for a host that shares it. ``layers``, the lowest first, are what a copied disk
    stands on and is to stand on there; a target that has no use for them takes all that the disk shows."""

    vdev: str
    format: str
    size: int
    writable: bool
    volume: str | None = None
    path: str | None = None
    copied: bool = False
    into: str | None = None
    proof: str | None = None
    layers: list[OfferedLayer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class OfferedFile:
    """What the domain starts from: ``key`` is ``kernel``, ``ramdisk`` or ``firmware`` (an image of its own),
    ``path`` where it was at first."""

    key: str
    path: str
    length: int
    digest: str


@dataclass(frozen=True, slots=True)
class OfferedCourse:
    """As :class:`wirt.ports.migration.Course`."""

    bytes_per_s: int | None = None
    max_downtime_ms: int = 300
    xbzrle: bool = False
    auto_converge: bool = False
    postcopy: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """A domain as the source has it. ``handover`` names this one attempt for good; ``epoch`` is the one that the
    domain has once the target owns it. ``text`` is its xl.cfg."""

    handover: str
    source: str
    uuid: str
    name: str
    text: str
    persistent: bool
    epoch: int
    paused: bool
    hypervisor: str
    hypervisor_version: list[int]
    accelerator: str
    machine: str
    cpu_model: str
    disks: list[OfferedDisk] = field(default_factory=list)
    course: OfferedCourse = field(default_factory=OfferedCourse)
    created_at: float = 0.0
    padding_kib: int = 8
    """Of its memory, beyond ``memory_mib``."""
    vcpus: int | None = None
    """That it has: some may have been plugged in, some be unused. ``None``: as ``text`` says."""
    memory_mib: int = 0
    """How large its memory is, which may be another size than ``text`` says by now; 0: what that says."""
    free_page_reporting: bool = False
    """Its balloon device takes reports of free pages."""
    hotplug_mib: int = 0
    """That can be plugged in beyond ``memory_mib``, and may have been."""
    cpu_features: list[str] = field(default_factory=list)
    """What its CPU really has; empty: not known."""
    cpu_identity: str = ""
    """The CPU below it, which begins with its vendor; empty under emulation."""
    offline: bool = False
    """It is off, or will be before it is handed over: nothing of its memory comes along."""
    start: bool = False
    """It ran before, and is to be started there."""
    files: list[OfferedFile] = field(default_factory=list)
    tunnels: bool = False
    """The source would put memory under TLS itself, rather than have its hypervisor do it."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that speaks against it. ``blocks``: it can't be done so; else it is to be known."""

    blocks: bool
    what: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class PlacedLayer:
    """Where a layer would be on the target: ``copied`` into ``volume``, or there already with the same content."""

    volume: str
    copied: bool


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a disk is on the target. ``shared``: the very same; else it is made and filled. ``layers``: what it
    will stand on, the lowest first."""

    vdev: str
    shared: bool
    volume: str | None = None
    layers: list[PlacedLayer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """Where what the domain starts from would be on the target: ``copied`` to ``path``, or there already."""

    key: str
    path: str
    length: int
    copied: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """What the target makes of an offer. Nothing has been done."""

    host: str
    hypervisor_version: list[int]
    accelerator: str
    remarks: list[Remark] = field(default_factory=list)
    placements: list[Placement] = field(default_factory=list)
    compares_cpus: bool = False
    """An older wirt compares none."""
    takes_offline: bool = False
    """Nor does it know what to do with a domain that is off."""
    takes_turns: bool = False
    """Nor does it have those wait for which it has no room yet."""
    brings_offline: bool = False
    """Nor does it ask for what a domain that is off starts from, and what its disks stand on."""
    counts_vcpus: bool = False
    """Nor does it know of vCPUs that were plugged in."""
    keeps_memory: bool = False
    """Nor of memory of another size than the configuration says, or of a balloon that reports free pages."""
    plugs_memory: bool = False
    """Nor of memory that can be plugged in."""
    files: list[PlacedFile] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether the target has room for a move now; if not, how many are before it."""

    granted: bool
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class OpenedDoor:
    """As :class:`wirt.ports.peers.Door`."""

    port: int | None = None
    path: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Certificates:
    """As :class:`wirt.ports.migration.Credentials`: the sending side's."""

    authority: str
    certificate: str
    key: str = field(repr=False)
    name: str


@dataclass(frozen=True, slots=True)
class WantedLayer:
    """The one of that number among the layers of the offered disk ``vdev``."""

    vdev: str
    number: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The target waits. ``disks``: the door for disks' contents, if any come along. ``chained``: of these disks
    only the topmost layer, for the others are there.

    If ``memory`` is no door yet, the target wants ``wanted`` and then ``wanted_files`` (by their keys) first, each
    in a stream of its own through the door ``layers``, or (if that is none either) a little time; then it is asked
    once more."""

    job: str
    memory: OpenedDoor
    disks: OpenedDoor | None = None
    certificates: Certificates | None = None
    layers: OpenedDoor | None = None
    wanted: list[WantedLayer] = field(default_factory=list)
    wanted_files: list[str] = field(default_factory=list)
    chained: list[str] = field(default_factory=list)
    ready: bool = False
    """Of a domain that is off, for which no memory is waited: nothing more is wanted but its disks."""
    tunnelled: bool = False
    """So will the target: memory's stream is TLS between the two daemons."""


@dataclass(frozen=True, slots=True)
class ConsolePiece:
    """``data`` (base64, at most 64 KiB of bytes) as it stood at ``offset`` of all that the guest printed."""

    offset: int
    data: str


@dataclass(frozen=True, slots=True)
class Leave:
    """``console``: what the guest printed last. ``wait_s``: it is answered once the guest goes on, or never will,
    but after so long at the latest."""

    console: ConsolePiece | None = None
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How an attempt stands at the target, which alone decides it. ``outcome``: ``open``, ``owned`` (the guest is
    the target's for good) or ``aborted`` (it never will be). Clocks are the target's, in seconds since the
    epoch."""

    outcome: str
    phase: str = ""
    message: str = ""
    clock: float = 0.0
    resumed_at: float | None = None
    health: str | None = None
    clock_step_s: float | None = None
    """By how much the guest's clock was set, if its agent let it be."""
    hint: str | None = None
    """What helps, if ``message`` says what went wrong."""
