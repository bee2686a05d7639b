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
    leases: list[str] = field(default_factory=list)


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
    scheduling: str = ""
    """What holds guests to their shares of the CPUs, and why."""
    memory: str = ""
    """How guests' memory is kept here, where they say nothing else."""
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
