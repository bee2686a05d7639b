"""The durable record of a guest, and one run of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from wirt.model.devices import DiskSpec, VifSpec
from wirt.model.lifecycle import Action, EndReason, State
from wirt.model.memory import HugePages


class GuestType(StrEnum):
    HVM = "hvm"
    PVH = "pvh"
    PV = "pv"


class Firmware(StrEnum):
    """``bios=`` and ``firmware=`` of xl.cfg(5), in the names of what runs on QEMU."""

    SEABIOS = "seabios"
    OVMF = "ovmf"


@dataclass(frozen=True, slots=True)
class DomainConfig:
    """What a guest is to be. Every field has the meaning of the xl.cfg key of the same name.

    Memory is in MiB, ``cap`` in percent of one CPU (0: none). Keys that wirt parses and does not honour yet
    stay in the domain's text and are named in a warning; they have no field here. ``cpus`` and ``cpus_soft``
    are one list of CPUs for all vCPUs, or a tuple with one for each of the first vCPUs.
    """

    name: str
    type: GuestType
    memory_mib: int
    uuid: UUID | None = None
    maxmem_mib: int | None = None
    vcpus: int = 1
    maxvcpus: int | None = None
    kernel: str | None = None
    ramdisk: str | None = None
    cmdline: str = ""
    firmware: Firmware = Firmware.SEABIOS
    firmware_path: str | None = None
    boot: str | None = None
    disks: tuple[DiskSpec, ...] = ()
    vifs: tuple[VifSpec, ...] = ()
    smbios: tuple[tuple[str, str], ...] = ()
    on_poweroff: Action = Action.DESTROY
    on_reboot: Action = Action.RESTART
    on_crash: Action = Action.DESTROY
    on_watchdog: Action = Action.DESTROY
    on_soft_reset: Action = Action.SOFT_RESET
    cpu_weight: int | None = None
    cap: int | None = None
    period_us: int | None = None
    budget_us: int | None = None
    extratime: bool = False
    cpus: str | tuple[str, ...] | None = None
    pool: str | None = None
    cpus_soft: str | tuple[str, ...] | None = None
    serial: tuple[str, ...] = ()
    device_model_args: tuple[str, ...] = ()
    guest_agent: bool | None = None
    """Whether the guest has a port for an agent; ``None``: if there is room for one."""
    cpu_model: str | None = None
    """As :func:`wirt.model.cpu.parse_choice` takes it; ``None``: the host's choice."""
    free_page_reporting: bool | None = None
    """Whether pages that the guest has freed go back to the host; ``None``: the host's choice."""
    huge_pages: HugePages | None = None
    mem_merge: bool | None = None
    """``False``: its memory is never merged with that of others."""
    qos: str | None = None
    """A class of service, which may be one that this host does not have."""
    disk_weight: int | None = None
    """Among all domains that ask for the same disk; ``None``: what its class says, or else 100."""
    network_weight: int | None = None
    """Among the guests of each network whose way out is shared; ``None`` as for ``disk_weight``."""
    memory_guarantee_mib: int | None = None
    """What ballooning leaves it; ``None``: what its class says, or else ``memory_mib``."""
    hotplug_mib: int = 0
    """That can be plugged in beyond ``most_mib`` while it runs."""

    @property
    def most_mib(self) -> int:
        """With which the guest is started, and what it can have at most unless more is plugged in."""
        return self.maxmem_mib or self.memory_mib


class Wanted(StrEnum):
    """The power state that the domain's owner asked for; loops make it so."""

    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One run of a domain on one host.

    ``pid`` and ``started_ticks`` (field 22 of /proc/PID/stat) together name a process for good. ``started_at``
    is seconds since the epoch. ``notes`` are the driver's own, which it needs to adopt the run again. ``end``
    is known once the guest has stopped by itself; ``message`` says more about it.
    """

    domain: UUID
    domid: int
    host: str
    epoch: int
    hypervisor: str
    started_at: float
    state: State = State.STARTING
    pid: int | None = None
    started_ticks: int | None = None
    notes: dict[str, str] = field(default_factory=dict)
    end: EndReason | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Domain:
    """The durable record.

    ``text`` is the configuration as a canonical xl.cfg: what is stored and shown; ``config`` is what it
    means. ``persistent`` domains stay when they are off. ``epoch`` grows with every change of owner.
    ``created_by`` is the job that recorded it: the only one that may take it back. ``template``: it is never
    run; its disks stay as they are, and others are made from it. ``saved``: its last run was written into this
    file and waits there, as long as nothing else is started with its disks.
    """

    uuid: UUID
    config: DomainConfig
    text: str
    persistent: bool = False
    wanted: Wanted = Wanted.ON
    epoch: int = 1
    incarnation: Incarnation | None = None
    created_at: float = 0.0
    created_by: str = ""
    template: bool = False
    saved: str | None = None
    revision: int = 0

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def domid(self) -> int | None:
        return self.incarnation.domid if self.incarnation else None

    @property
    def state(self) -> State:
        return self.incarnation.state if self.incarnation else State.OFF
