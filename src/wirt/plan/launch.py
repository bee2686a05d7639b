"""From a configuration to everything a hypervisor must be told: pure, so that ``wirt create -n`` can show it.

No meaningful choice is left for the driver: devices, their models, buses and order are decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from wirt.model.cpu import GivenCpu
from wirt.model.devices import DiskFormat, DiskSpec, PortForward, VifKind
from wirt.model.diskqos import UNLIMITED, DiskQos, in_force
from wirt.model.domain import DomainConfig, Firmware, GuestType
from wirt.model.errors import ConfigError
from wirt.model.memory import GivenMemory
from wirt.model.storage import Volume
from wirt.plan.cpu import ChosenCpu, again, choose
from wirt.plan.engine import DEVICE, UNKNOWN, DiskEngine, Engines, Medium, plan_engine
from wirt.plan.host import Accelerator, HostFacts, HypervisorFacts
from wirt.plan.nics import NicPlan, plan_nics
from wirt.plan.ram import Ram, check_hotplug, check_memory, plan_ram, reports
from wirt.plan.slots import Slots, agent_slot, hotplug_slot

MOST_VCPUS = 255
AHCI_PORTS = 6
MACHINE = "pc-q35-7.2"
"""One machine version for all supported QEMUs, so that a guest may move between them."""
KEPT_EVERY_PAGE_SINCE = (9, 0)
"""QEMU before it forgets pages under emulation when it sends a block of memory that is a multiple of 256 KiB
(QEMU, 03bfc2188f). Since then it forgets those of a block that does not lie first among all, for it resets the
translation buffer of what lies there instead (migration/ram.c, ``physical_memory_sync_dirty_bitmap``: without the
block's offset, up to 10.2 at least)."""
PADDING_KIB = 8
"""Two pages more, with which no block is one. It has a price: QEMU then begins to send by going through the memory
page by page, while the guest stands still (measured: 160 ms for 256 MiB)."""
DEFAULT_WEIGHT = 256
"""What the credit scheduler gives a domain that says nothing (xl(1), "sched-credit")."""


class Bus(StrEnum):
    VIRTIO = "virtio"
    AHCI = "ahci"


class ConsoleDevice(StrEnum):
    SERIAL = "serial"
    VIRTIO = "virtio"


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """``slot`` is the PCI slot of a virtio disk, the port of an AHCI one. ``boot_index`` counts from 0."""

    id: str
    bus: Bus
    slot: int
    path: str | None
    format: DiskFormat
    writable: bool
    cdrom: bool
    shared: bool
    boot_index: int | None
    device: bool = False
    """``path`` is a block device of the host, not a file."""
    volume: str | None = None
    """``POOL/VOLUME``, if it is one."""
    engine: DiskEngine = field(default_factory=DiskEngine)
    qos: DiskQos = UNLIMITED
    """What holds for it, be it its own or its group's."""


@dataclass(frozen=True, slots=True)
class DirectBoot:
    kernel: str
    ramdisk: str | None
    cmdline: str


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """Everything that a driver needs to start one incarnation, and nothing it could choose."""

    uuid: UUID
    domid: int
    name: str
    type: GuestType
    machine: str
    accelerator: Accelerator
    cpu_model: str
    vcpus: int
    """Which are there from the first instruction on, or from where it goes on."""
    maxvcpus: int
    memory_mib: int
    direct_boot: DirectBoot | None
    firmware: Firmware | None
    firmware_path: str | None
    console: ConsoleDevice
    disks: tuple[DiskPlan, ...]
    nics: tuple[NicPlan, ...]
    smbios_oem: tuple[str, ...]
    slots: tuple[tuple[str, int], ...]
    """PCI slots of the devices that every guest has: (device, slot)."""
    extra_arguments: tuple[str, ...] = ()
    cpu_weight: int = DEFAULT_WEIGHT
    """In the credit scheduler's terms (xl.cfg(5), "cpu_weight")."""
    ram: Ram = field(default_factory=Ram)
    padding_kib: int = 0
    """What the guest has beyond ``memory_mib``. It belongs to the guest: wherever it goes on, it has the same."""
    agent_slot: int | None = None
    """PCI slot of the controller that has the guest agent's port; ``None``: the guest has none."""
    cpu: ChosenCpu | None = None
    """What ``cpu_model`` comes to on this host; ``None``: just that."""
    start_mib: int | None = None
    """What of ``memory_mib`` it is to hold at first, by its balloon; ``None``: all."""
    reporting: bool = False
    """Pages that the guest has freed are given back to the host. The device tells the guest so: as with the
    padding."""
    hotplug_mib: int = 0
    """What can be plugged in beyond ``memory_mib``, as with the padding; ``hotplug_slot`` is its device's PCI
    slot."""
    hotplug_slot: int | None = None
    plugged_mib: int = 0
    """What of that has been plugged in where the guest goes on from."""

    def forwards(self) -> tuple[PortForward, ...]:
        return tuple(forward for nic in self.nics for forward in nic.forwards)


def plan_launch(
    config: DomainConfig,
    uuid: UUID,
    domid: int,
    host: HostFacts,
    hypervisor: HypervisorFacts,
    block_devices: frozenset[str] = frozenset(),
    volumes: Mapping[str, Volume] | None = None,
    media: Mapping[str, Medium] | None = None,
    given: GivenCpu | None = None,
    memory: GivenMemory | None = None,
    vcpus: int | None = None,
) -> LaunchPlan:
    """The plan for one run of ``config`` on ``host``. ``block_devices``: those disk targets that are devices.
    ``volumes``: what those that name volumes lead to. ``media``: what the paths of disks lie on. Of a guest that
    goes on from where it was, ``given`` is the CPU, ``memory`` what its memory is and ``vcpus`` how many it had,
    used or not; ``None``: it begins.

    Raises ``ConfigError`` (with the key) for what this hypervisor can't do, ``Shortage`` for what this host
    hasn't got.
    """
    _check_type(config, hypervisor)
    size_mib = config.most_mib if memory is None or memory.mib is None else memory.mib
    hotplug_mib = config.hotplug_mib if memory is None else memory.hotplug_mib
    padding_kib = _padding_kib(hypervisor, hotplug_mib) if memory is None else memory.padding_kib
    ram = plan_ram(config, size_mib, padding_kib, host)
    reporting = reports(config, host, ram) if memory is None else memory.reporting
    plugged_mib = max(0, min(config.memory_mib - size_mib, hotplug_mib)) if memory is not None else 0
    check_memory(config, size_mib + plugged_mib, host, ram, reporting=reporting)
    check_hotplug(size_mib + hotplug_mib, hotplug_mib, host)
    _check_vcpus(config, vcpus)
    slots = Slots()
    fixed = tuple((device, slots.take(device)) for device in ("rng", "balloon", "panic", "watchdog"))
    boot = _boot_order(config)
    console = _console(config)
    if console is ConsoleDevice.VIRTIO:
        fixed += (("console", slots.take("console")),)
    fixed += (("ports", slots.take("ports")),)
    nics = plan_nics(
        config, uuid, domid, host, lambda index: slots.take(f"vif {index}"), _network_boot(config, boot)
    )
    disks = _plan_disks(
        config, slots, boot, block_devices, volumes or {}, _Ground(media or {}, _engines(host, hypervisor))
    )
    wish = config.cpu_model or host.cpu_model
    cpu = choose(wish, hypervisor.accelerator, hypervisor.cpu) if given is None else again(given, hypervisor.cpu)
    return LaunchPlan(
        uuid=uuid,
        domid=domid,
        name=config.name,
        type=config.type,
        machine=MACHINE,
        accelerator=hypervisor.accelerator,
        cpu_model=cpu.model,
        vcpus=config.vcpus if vcpus is None else vcpus,
        maxvcpus=config.maxvcpus or config.vcpus,
        memory_mib=size_mib,
        start_mib=min(config.memory_mib, size_mib),
        direct_boot=_direct_boot(config),
        firmware=None if _direct_boot(config) else config.firmware,
        firmware_path=config.firmware_path or hypervisor.firmware_file(config.firmware),
        console=console,
        disks=disks,
        nics=nics,
        smbios_oem=tuple(value for key, value in config.smbios if key == "oem"),
        slots=fixed,
        extra_arguments=config.device_model_args,
        cpu_weight=config.cpu_weight or DEFAULT_WEIGHT,
        ram=ram,
        padding_kib=padding_kib,
        reporting=reporting,
        hotplug_mib=hotplug_mib,
        hotplug_slot=hotplug_slot(slots) if hotplug_mib else None,
        plugged_mib=plugged_mib,
        agent_slot=agent_slot(config, slots),
        cpu=cpu,
    )


def _padding_kib(hypervisor: HypervisorFacts, hotplug_mib: int) -> int:
    """What can be plugged in lies first, so with it the rest does not."""
    forgets = hypervisor.version < KEPT_EVERY_PAGE_SINCE or hotplug_mib > 0
    return PADDING_KIB if forgets and hypervisor.accelerator is Accelerator.TCG else 0


def _engines(host: HostFacts, hypervisor: HypervisorFacts) -> Engines:
    return Engines(hypervisor.missing_engines, host.native_requests)


def plan_card(config: DomainConfig, uuid: UUID, domid: int, host: HostFacts, devid: int) -> NicPlan:
    """The card ``devid`` of ``config``, just as :func:`plan_launch` has it, for a run that is under way."""
    boot = _network_boot(config, _boot_order(config))
    return next(nic for nic in plan_nics(config, uuid, domid, host, lambda _: 0, boot) if nic.index == devid)


def plan_layer(
    config: DomainConfig,
    disk: DiskSpec,
    layer: Volume,
    medium: Medium,
    host: HostFacts,
    hypervisor: HypervisorFacts,
) -> DiskEngine:
    """How ``disk`` of ``config`` is served once it goes on in ``layer``, which lies on ``medium``: as the next
    start would choose."""
    return plan_engine(
        disk,
        layer.format,
        medium,
        _engines(host, hypervisor),
        volume=layer,
        vcpus=config.maxvcpus or config.vcpus,
        paravirtual=_bus(config, disk) is Bus.VIRTIO,
    )


@dataclass(frozen=True, slots=True)
class _Ground:
    """What is under the disks: media by path, and what serves them."""

    media: Mapping[str, Medium]
    engines: Engines


def _check_type(config: DomainConfig, hypervisor: HypervisorFacts) -> None:
    if config.type not in hypervisor.guest_types:
        able = ", ".join(sorted(hypervisor.guest_types))
        raise ConfigError(
            f"{hypervisor.name} can't run a {config.type} guest", key="type", hint=f"it can run: {able}"
        )
    if config.type is not GuestType.HVM and config.kernel is None:
        raise ConfigError(
            f"a {config.type} guest is entered at its kernel, and none is named",
            key="kernel",
            hint='name one (kernel = "/path/vmlinuz"), or boot from a disk with type = "hvm"',
        )


def _check_vcpus(config: DomainConfig, had: int | None) -> None:
    most = config.maxvcpus or config.vcpus
    if most > MOST_VCPUS:
        raise ConfigError(f"{most} virtual CPUs are too many", key="vcpus", hint=f"at most {MOST_VCPUS}")
    if had is not None and not 1 <= had <= most:
        raise ConfigError(
            f"{config.name} goes on with {had} virtual CPUs, and can have {most}",
            key="maxvcpus",
            hint="start it anew instead",
        )


def _direct_boot(config: DomainConfig) -> DirectBoot | None:
    if config.kernel is None:
        return None
    return DirectBoot(config.kernel, config.ramdisk, config.cmdline)


def _console(config: DomainConfig) -> ConsoleDevice:
    """Xen's paravirtual console is hvc0 and so files written for Xen name it; virtio's is called the same."""
    names = [word for word in config.cmdline.split() if word.startswith("console=")]
    last = names[-1] if names and config.kernel else ""
    return ConsoleDevice.VIRTIO if last.startswith("console=hvc") else ConsoleDevice.SERIAL


def _boot_order(config: DomainConfig) -> dict[str, int]:
    """``boot=`` letters to their place: c disk, d CD-ROM, n network (xl.cfg(5), "boot")."""
    order: dict[str, int] = {}
    for letter in config.boot or "cd":
        order.setdefault(letter, len(order))
    return order


def _network_boot(config: DomainConfig, boot: dict[str, int]) -> int | None:
    """A kernel that is entered directly was never looked for on a network."""
    return boot.get("n") if config.kernel is None else None


def _plan_disks(
    config: DomainConfig,
    slots: Slots,
    boot: dict[str, int],
    block_devices: frozenset[str],
    volumes: Mapping[str, Volume],
    ground: _Ground,
) -> tuple[DiskPlan, ...]:
    plans: list[DiskPlan] = []
    limits = in_force((disk.vdev, disk.qos) for disk in config.disks)
    ports = 0
    # A class of devices (all disks, all CDs) takes one place in boot=; within it the order of the file rules.
    for index, disk in enumerate(config.disks):
        bus = _bus(config, disk)
        if bus is Bus.AHCI:
            if ports == AHCI_PORTS:
                raise ConfigError(
                    f"{disk.vdev} is one emulated disk too many: there are {AHCI_PORTS} ports",
                    key="disk",
                    hint="name further disks xvd*: they are paravirtual",
                )
            if not disk.writable and not disk.cdrom:
                raise ConfigError(
                    f"{disk.vdev} is an emulated hard disk, and those can't be read-only",
                    key="disk",
                    hint=f"name it xvd{disk.vdev[2:]}, which is paravirtual, or make it writable",
                )
            slot, ports = ports, ports + 1
        else:
            slot = slots.take(disk.vdev)
        place = boot.get("d" if disk.cdrom else "c")
        volume = _volume(disk, volumes)
        path = volume.path if volume is not None else disk.target
        format_ = volume.format if volume is not None else disk.format
        device = volume.device if volume is not None else disk.target in block_devices
        engine = plan_engine(
            disk,
            format_,
            ground.media.get(path or "", DEVICE if device else UNKNOWN),
            ground.engines,
            volume=volume,
            vcpus=config.maxvcpus or config.vcpus,
            paravirtual=bus is Bus.VIRTIO,
        )
        plans.append(
            DiskPlan(
                id=f"disk-{disk.vdev}",
                bus=bus,
                slot=slot,
                path=path,
                format=format_,
                writable=disk.writable and not disk.cdrom,
                cdrom=disk.cdrom,
                shared=disk.specification == "shared",
                boot_index=None if place is None else place * 100 + index,
                device=device,
                volume=volume.reference if volume is not None else None,
                engine=engine,
                qos=limits[disk.vdev],
            )
        )
    return tuple(plans)


def _volume(disk: DiskSpec, volumes: Mapping[str, Volume]) -> Volume | None:
    """The pool knows a volume's format; an entry that says another one is a mistake that would destroy it."""
    if disk.volume is None or disk.target is None:
        return None
    if disk.target not in volumes:
        raise ConfigError(f"there is no volume {disk.volume}", key="disk", hint="wirt volume list shows all")
    volume = volumes[disk.target]
    if disk.format_given and disk.format not in (volume.format, DiskFormat.EMPTY):
        raise ConfigError(
            f"volume {disk.volume} is {volume.format}, and the entry of {disk.vdev} says {disk.format}",
            key="disk",
            hint="leave the format out: the pool knows it",
        )
    return volume


def _bus(config: DomainConfig, disk: DiskSpec) -> Bus:
    """hd* and sd* are emulated for an hvm guest, xvd* and vd* never; a CD drive always is."""
    if disk.cdrom:
        return Bus.AHCI
    if config.type is GuestType.HVM and disk.vdev.startswith(("hd", "sd")):
        return Bus.AHCI
    return Bus.VIRTIO


__all__ = ["Bus", "ConsoleDevice", "DirectBoot", "DiskPlan", "LaunchPlan", "NicPlan", "VifKind", "plan_launch"]
