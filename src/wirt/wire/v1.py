"""The API's types, version 1. Fields are only ever added; a reader ignores those it does not know.

Plain dataclasses, because the command line reads them and has 60 ms for everything: no library that costs
its readers time belongs here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

VERSION = "v1"

T = TypeVar("T")


def read(kind: type[T], data: dict[str, Any]) -> T:
    """``data`` as a ``kind``, leaving out fields that this version doesn't know. Nested values stay as they
    are; ``TypeError`` if a field that must be there is missing."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in data.items() if name in known})


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as RFC 9457 ``application/problem+json``. ``code`` is stable (see ``wirt.model.errors``)."""

    code: str
    title: str
    status: int
    type: str = "about:blank"
    hint: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Forward:
    protocol: str
    host_address: str
    host_port: int
    guest_port: int


@dataclass(frozen=True, slots=True)
class VifStatistics:
    """Since the card was plugged in, as the guest sees it: ``rx`` is what it was sent."""

    rx_bytes: int
    rx_packets: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_dropped: int


@dataclass(frozen=True, slots=True)
class Vif:
    """``index`` is xl's devid. ``state``: ``off`` (the domain is), ``attached``, ``leaving`` (the guest was asked
    to let go of it, and has not yet) or ``absent`` (it did so by itself). ``link`` is ``up`` or ``down`` while the
    card is there. ``statistics`` are given for one domain only, and for cards that have a tap."""

    index: int
    mac: str
    model: str
    kind: str
    bridge: str | None = None
    tap: str | None = None
    addresses: list[str] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    state: str = ""
    link: str | None = None
    statistics: VifStatistics | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    vdev: str
    path: str | None
    format: str
    writable: bool
    cdrom: bool


@dataclass(frozen=True, slots=True)
class Domain:
    """One domain. ``flags`` are xl's six letters; ``cpu_time_s`` is what this run has used; ``weaker`` says what
    its configuration takes away from the jail around this run; ``uptime_s`` is ``None`` when it is off; ``saved``
    is the file that its last run waits in; ``outdated``: its run is carried by another hypervisor than the
    installed one (``wirt refresh``). Domain-0 has ``domid`` 0 and type ``host``."""

    name: str
    uuid: str
    domid: int | None
    type: str
    state: str
    flags: str
    memory_mib: int
    vcpus: int
    cpu_time_s: float
    uptime_s: float | None
    persistent: bool
    hypervisor: str
    epoch: int
    wanted: str = "on"
    pid: int | None = None
    end_reason: str | None = None
    message: str = ""
    vifs: list[Vif] = field(default_factory=list)
    disks: list[Disk] = field(default_factory=list)
    weaker: list[str] = field(default_factory=list)
    saved: str | None = None
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class DomainList:
    """``domains`` in the order of their domids, those that are off last, by name. ``revision`` is the
    store's."""

    domains: list[Domain]
    revision: int
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class DomainDetail:
    """What ``wirt list -l`` prints for one domain: the record, its configuration as an xl.cfg, and the same
    as values."""

    domain: Domain
    text: str
    config: dict[str, Any]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class Notice:
    message: str
    key: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """``text`` is an xl.cfg; ``file`` its name for messages; relative paths in it start from ``cwd``.
    ``overrides`` are ``key=value`` words. ``start`` false only defines; ``persistent`` keeps the domain when
    it is off."""

    text: str
    file: str
    cwd: str
    overrides: list[str] = field(default_factory=list)
    paused: bool = False
    persistent: bool = False
    start: bool = True


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """``words`` as in an entry of xl.cfg's ``vif``: ``bridge=br0``, ``mac=...``"""

    words: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LinkRequest:
    up: bool


@dataclass(frozen=True, slots=True)
class AttachPreview:
    """``wirt network-attach -n``: what would be done, and nothing done. ``now``: the domain runs, and would get
    the card at once."""

    name: str
    index: int
    now: bool
    text: str
    plan: dict[str, Any]
    notices: list[Notice]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class PlanPreview:
    """``wirt create -n``: what would be done, and nothing done."""

    text: str
    config: dict[str, Any]
    plan: dict[str, Any]
    command: list[str]
    notices: list[Notice]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class JobError:
    code: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """``state``: queued, running, undoing, done, failed, cancelled. ``progress`` from 0 to 1."""

    id: str
    kind: str
    subject: str
    state: str
    progress: float
    message: str
    steps: list[Step]
    created_at: float
    finished_at: float | None = None
    error: JobError | None = None
    result: dict[str, Any] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class Event:
    """``seq`` grows by one with each event of one daemon. ``kind``: ``domain`` (``data``: state, reason),
    ``job`` (a Job), ``network`` (``data``: network, and mended, problem with hint, or change), ``host``."""

    seq: int
    time: float
    kind: str
    domain: str | None
    uuid: str | None
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Vcpu:
    """``cpu`` is ``None`` and ``flags`` ``--p`` for a vCPU that is offline or paused."""

    domain: str
    domid: int
    index: int
    cpu: int | None
    flags: str
    cpu_time_s: float
    affinity_hard: str
    affinity_soft: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One promise of the jail around each guest, and whether it holds on this host."""

    name: str
    holds: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Info:
    """``wirt info``, with xl's names where xl has them. ``memory`` in MiB."""

    host: str
    release: str
    machine: str
    nr_cpus: int
    total_memory: int
    free_memory: int
    wirt_version: str
    hypervisor: str
    hypervisor_version: str
    accelerator: str
    accelerator_reason: str
    guest_types: list[str]
    networking: str
    home: str
    daemon_pid: int
    daemon_uptime_s: float
    notes: list[str] = field(default_factory=list)
    sandbox: list[Claim] = field(default_factory=list)
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the table of xl.cfg keys."""

    name: str
    type: str
    default: str
    help: str
    group: str
    honoured_by: list[str]


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """``rules`` as they are written, ``in:tcp:22:from=10.0.0.0/8``; their numbers count from 1. ``domains`` and
    ``groups`` are the names of those that name it."""

    name: str
    rules: list[str] = field(default_factory=list)
    description: str = ""
    domains: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class SecurityGroupList:
    groups: list[SecurityGroup]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class SecurityGroupRequest:
    name: str
    rules: list[str] = field(default_factory=list)
    description: str = ""


@dataclass(frozen=True, slots=True)
class SecurityGroupChange:
    """``rules`` take the place of all that were there; what is ``None`` stays as it is."""

    rules: list[str] | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class AllowRequest:
    rules: list[str]


@dataclass(frozen=True, slots=True)
class RevokeRequest:
    """``rule`` is a rule, or its number."""

    rule: str


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """``verdict``: ``ok``; ``weaker``: as planned, and less than a jail can be; ``unknown``: it could not be
    looked at; ``wider``: more than it should have. ``details`` are complete where ``found`` is short."""

    what: str
    found: str
    expected: str
    verdict: str
    why: str = ""
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AuditedDomain:
    """``verdict`` is the worst of its findings, ``sentence`` the same for people."""

    name: str
    uuid: str
    domid: int | None
    pid: int | None
    jailed: bool
    verdict: str
    sentence: str
    findings: list[AuditFinding]


@dataclass(frozen=True, slots=True)
class Audit:
    """``home`` is about the files of wirt's home. ``verdict`` is the worst of all."""

    verdict: str
    summary: str
    domains: list[AuditedDomain]
    home: list[AuditFinding]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class NetworkRequest:
    """The words of ``wirt network create``. ``address`` and ``dhcp`` may be ``none``; what is ``None`` gets its
    default. ``peers`` are VXLAN's."""

    name: str
    mode: str | None = None
    bridge: str | None = None
    address: str | None = None
    address6: str | None = None
    dhcp: str | None = None
    dns: bool | None = None
    domain: str | None = None
    uplink: str | None = None
    vlan: int | None = None
    vni: int | None = None
    local: str | None = None
    peers: list[str] = field(default_factory=list)
    port: int | None = None
    mtu: int | None = None
    vlan_filtering: bool = False


@dataclass(frozen=True, slots=True)
class NetworkProblem:
    """``network`` is empty for what concerns all."""

    network: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Network:
    """``state``: ``up``; ``amiss``, with ``problems``; ``unused``: the default network, whose bridge is made
    with the first card; ``leaving``: it is being destroyed. ``dhcp`` is ``FIRST-LAST``; ``advertise``: guests
    choose IPv6 addresses in ``address6``'s network. ``own_bridge`` false: the bridge is not wirt's to change.
    ``vifs`` counts the cards of running domains."""

    name: str
    mode: str
    bridge: str
    state: str
    vifs: int
    address: str | None = None
    address6: str | None = None
    dhcp: str | None = None
    advertise: bool = False
    dns: bool = False
    domain: str | None = None
    uplink: str | None = None
    vlan: int | None = None
    vni: int | None = None
    local: str | None = None
    peers: list[str] = field(default_factory=list)
    port: int | None = None
    mtu: int | None = None
    vlan_filtering: bool = False
    own_bridge: bool = True
    problems: list[NetworkProblem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NetworkList:
    networks: list[Network]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class NetworkDevice:
    """A device that the network needs. ``kind`` and ``mtu`` are ``None`` for one that is not there."""

    name: str
    kind: str | None
    state: str
    mtu: int | None
    addresses: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NetworkCard:
    """A card of a domain in the network, ``domid`` and ``tap`` while it runs."""

    domain: str
    domid: int | None
    index: int
    mac: str
    tap: str | None
    addresses: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Lease:
    """``until``: seconds since the epoch, ``None`` for ever."""

    mac: str
    address: str
    name: str | None
    until: float | None


@dataclass(frozen=True, slots=True)
class NetworkMended:
    """``network`` is empty for what concerns all."""

    at: float
    network: str
    what: str


@dataclass(frozen=True, slots=True)
class NetworkDetail:
    """``server`` is the process ID of its dnsmasq. ``mended``: what the daemon found amiss and mended lately."""

    network: Network
    devices: list[NetworkDevice]
    vifs: list[NetworkCard]
    leases: list[Lease]
    server: int | None
    mended: list[NetworkMended]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class NetworkAction:
    """``action`` is its kind, ``network`` empty for what concerns all."""

    network: str
    action: str
    sentence: str


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """What would be done, in this order, and what no action can mend. ``config`` is that of a network which
    would be created."""

    actions: list[NetworkAction]
    problems: list[NetworkProblem]
    config: Network | None = None
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class BootstrapRequest:
    """The words of ``wirt bootstrap``; relative paths start from ``cwd``. ``size`` in bytes, ``memory`` in MiB.
    ``key`` is a file of the host with the keys that packages are signed with. Empty words mean the default.
    ``force``: also over what is on a device or a volume that exists."""

    distribution: str
    into: str
    cwd: str
    name: str = ""
    size: int | None = None
    type: str = "pvh"
    release: str = ""
    mirror: str = ""
    key: str = ""
    unsigned: bool = False
    kernel: str = ""
    packages: list[str] = field(default_factory=list)
    console: str = "ttyS0"
    network: str = "dhcp"
    address: str = ""
    gateway: str = ""
    dns: list[str] = field(default_factory=list)
    user: str = ""
    ssh_keys: list[str] = field(default_factory=list)
    memory: int | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class BootstrapSlice:
    """A partition: ``start`` and ``size`` in bytes."""

    name: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class BootstrapFile:
    """``what``: ``config``, or of a guest that is entered directly ``kernel`` or ``initrd``."""

    what: str
    path: str


@dataclass(frozen=True, slots=True)
class BootstrapPlan:
    """What would be done. ``files`` are written on the host beside the disk. ``partitions`` is empty where the
    file system takes the whole disk. ``config`` is the domain's xl.cfg."""

    name: str
    into: str
    size: int
    commands: list[list[str]]
    partitions: list[BootstrapSlice]
    files: list[BootstrapFile]
    config: str
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """``target``: a directory, a volume group, ``GROUP/THINPOOL``, or devices with commas between them.
    ``source``: ``SERVER:/EXPORT`` of an nfs pool."""

    name: str
    type: str = "dir"
    target: str = ""
    source: str | None = None
    options: str = ""


@dataclass(frozen=True, slots=True)
class Pool:
    """Sizes are in bytes, and ``None`` while the pool can't be reached: then ``problem`` says why. ``state``:
    ``ready``, ``unavailable`` or ``leaving``. ``promised`` is what its volumes may grow to."""

    name: str
    type: str
    target: str
    state: str
    source: str | None = None
    options: str = ""
    capabilities: list[str] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)
    capacity: int | None = None
    available: int | None = None
    allocated: int | None = None
    promised: int | None = None
    problem: str | None = None
    file_system: str | None = None
    abilities: list[str] = field(default_factory=list)
    """What the file system can do, of ``reflink``, ``direct`` and ``discard``; found out by trying."""


@dataclass(frozen=True, slots=True)
class PoolType:
    """``reason``: why this host has none, ``None`` if it can."""

    type: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PoolList:
    pools: list[Pool]
    types: list[PoolType]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class VolumeHolder:
    """Who has it open: a domain's name (or UUID, if it is another host's), or a job's ID."""

    host: str
    domain: str | None
    job: str | None
    writes: bool


@dataclass(frozen=True, slots=True)
class DiskChoice:
    """``what``: ``cache``, ``aio``, ``discard``, ``detect_zeroes`` or ``iothread``."""

    what: str
    choice: str
    reason: str


@dataclass(frozen=True, slots=True)
class Volume:
    """Sizes are in bytes. ``backing`` is the volume that it shares unchanged blocks with. ``domains`` have it
    among their disks, running or not."""

    pool: str
    name: str
    reference: str
    format: str
    size: int
    allocated: int
    path: str
    backing: str | None = None
    holders: list[VolumeHolder] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    engine: list[DiskChoice] = field(default_factory=list)
    """How it would be served as a disk whose entry says nothing of that. Only of one volume that is asked for."""


@dataclass(frozen=True, slots=True)
class VolumeList:
    volumes: list[Volume]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class PoolDetail:
    """``tidied``: what interrupted work had left and a refresh took away."""

    pool: Pool
    volumes: list[Volume]
    tidied: list[str] = field(default_factory=list)
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """``size`` as in ``10G``. ``preallocation``: ``off``, ``metadata`` or ``full``."""

    size: str
    format: str | None = None
    preallocation: str = "off"


@dataclass(frozen=True, slots=True)
class VolumeResize:
    size: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class VolumeTarget:
    """``target`` is ``POOL/VOLUME``, for a clone the new volume's name. ``bytes_per_s`` as in ``10M``."""

    target: str
    format: str | None = None
    preallocation: str = "off"
    bytes_per_s: str | None = None


@dataclass(frozen=True, slots=True)
class VolumeFile:
    """``file`` is an absolute path on the host."""

    file: str
    format: str | None = None
    file_format: str | None = None
