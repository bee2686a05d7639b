"""A launch plan as QEMU's command line: a pure function, held by golden files.

Options follow qemu-system-x86_64(1) of QEMU 7.2 and work unchanged up to 10. Whatever holds a path or a text
from a configuration goes through :func:`quoted` or through JSON, so that a comma in a name stays one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from wirt.hypervisors.qemu import devices, engines, plugged
from wirt.model.devices import PortForward, VifKind
from wirt.model.domain import Firmware
from wirt.model.units import KIB, MIB
from wirt.plan.engine import iothreads
from wirt.plan.host import Accelerator
from wirt.plan.launch import Bus, ConsoleDevice, DiskPlan, LaunchPlan
from wirt.plan.nics import PLACES, NicPlan

TRANSLATION_BUFFER_MIB = 64
"""QEMU's default under TCG is a gigabyte of address space a guest; 64 MiB boot Debian without a flush."""

RAM = "pc.ram"
AGENT_PORT = "org.qemu.guest_agent.0"
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


@dataclass(frozen=True, slots=True)
class Handles:
    """Descriptors that QEMU inherits: four listening sockets, and by card index a tap for each bridged card, a
    socket for each user-mode card that passt serves. ``forwards`` are user-mode forwards with their host ports
    chosen, by card index."""

    control: int = 10
    events: int = 11
    console: int = 12
    taps: tuple[tuple[int, int], ...] = ()
    forwards: tuple[tuple[int, tuple[PortForward, ...]], ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    """What is handed over as a descriptor instead of by its path: logs, firmware variables, the KVM device."""
    nodes: tuple[tuple[str, Mapping[str, object]], ...] = ()
    """Block nodes of disks that are handed over, by the disk's id."""
    incoming: bool = False
    """Memory and devices come over the control connection."""
    agent: int | None = 9
    """``None`` where the guest has no port for one."""

    def name(self, what: str, path: str) -> str:
        return dict(self.names).get(what, path)


def preview_handles(plan: LaunchPlan, *, passt: bool = False) -> Handles:
    """Numbers for a command line that is only shown."""
    kinds = {VifKind.BRIDGE, VifKind.USER} if passt else {VifKind.BRIDGE}
    taps = [nic.index for nic in plan.nics if nic.kind in kinds]
    return Handles(
        taps=tuple((index, 13 + place) for place, index in enumerate(taps)),
        forwards=tuple((nic.index, nic.forwards) for nic in plan.nics),
    )


def command_line(plan: LaunchPlan, binary: str, directory: str, handles: Handles) -> tuple[str, ...]:
    """The whole argv. ``directory`` is the run's own; the logs that QEMU keeps there survive the daemon."""
    plan = _without_boot_order(plan) if plan.direct_boot is not None else plan
    return (
        binary,
        *_machine(plan, handles),
        *_monitors(directory, handles),
        *_console(plan, directory, handles),
        *_boot(plan, directory, handles),
        *_fixed_devices(plan),
        *_hotplug(plan),
        *_agent(plan, handles),
        *_iothreads(plan),
        *(word for disk in plan.disks for word in _disk(disk, handles)),
        *(word for nic in plan.nics for word in _nic(nic, handles)),
        *(("-incoming", "defer") if handles.incoming else ()),
        *plan.extra_arguments,
    )


def _without_boot_order(plan: LaunchPlan) -> LaunchPlan:
    """A kernel that is entered directly is the first boot device, and QEMU ends when another claims that place."""
    return replace(
        plan,
        disks=tuple(replace(disk, boot_index=None) for disk in plan.disks),
        nics=tuple(replace(nic, boot_index=None) for nic in plan.nics),
    )


def quoted(text: str) -> str:
    """A value inside QEMU's ``key=value,...`` syntax: a comma is written twice."""
    return text.replace(",", ",,")


def _machine(plan: LaunchPlan, handles: Handles) -> Iterator[str]:
    yield from ("-name", f"guest={quoted(plan.name)},debug-threads=on")
    yield from ("-uuid", str(plan.uuid))
    yield from ("-nodefaults", "-no-user-config", "-display", "none", "-S")
    merge = "on" if plan.ram.merge else "off"
    yield from ("-machine", f"{plan.machine},usb=off,vmport=off,dump-guest-core=off,mem-merge={merge}")
    if plan.accelerator is Accelerator.KVM:
        device = dict(handles.names).get("kvm")
        yield from ("-accel", "kvm" if device is None else f"kvm,device={device}")
    else:
        yield from ("-accel", f"tcg,tb-size={TRANSLATION_BUFFER_MIB}")
    yield from ("-cpu", plan.cpu_model if plan.cpu is None else plan.cpu.argument)
    yield from ("-smp", f"cpus={plan.vcpus},sockets=1,cores={plan.maxvcpus},threads=1,maxcpus={plan.maxvcpus}")
    most = _memory_bytes(plan) // KIB + plan.hotplug_mib * KIB
    yield from ("-m", f"size={memory_size(plan)}" + (f",maxmem={most}K" if plan.hotplug_mib else ""))
    if plan.hotplug_mib:
        # Before all other memory: see KEPT_EVERY_PAGE_SINCE.
        words = {"qom-type": "memory-backend-ram", "id": plugged.BACKEND, "size": plan.hotplug_mib * MIB}
        yield from ("-object", _json({**words, **_from_nodes(plan)}))
    yield from _ram(plan)
    # clock=host keeps the RTC right over a pause or a move, which is what a guest mends its clock from.
    yield from ("-rtc", "base=utc,clock=host")
    # The guest stops where it ended, and the daemon decides by on_poweroff and its siblings what follows.
    yield from ("-action", "reboot=shutdown,shutdown=pause,panic=pause,watchdog=pause")
    yield from ("-sandbox", SANDBOX)


def _ram(plan: LaunchPlan) -> Iterator[str]:
    """Its name is that of the memory which a guest has without one, so that each can go on in the other (QEMU,
    docs/system/qemu-options, ``-machine memory-backend``)."""
    ram = plan.ram
    if ram.page_kib is None and not ram.nodes:
        return
    words: dict[str, object] = {"qom-type": "memory-backend-ram", "id": RAM, "size": _memory_bytes(plan)}
    if ram.page_kib is not None:
        # All at once, so that a page that is missing ends the start and not the guest.
        huge = {"hugetlb": True, "hugetlbsize": ram.page_kib * KIB, "prealloc": True}
        words |= {"qom-type": "memory-backend-memfd", **huge}
    words |= _from_nodes(plan)
    yield from ("-object", _json(words), "-machine", f"memory-backend={RAM}")


def _from_nodes(plan: LaunchPlan) -> dict[str, object]:
    nodes = plan.ram.nodes
    policy = "preferred" if len(nodes) == 1 else "interleave"
    return {"host-nodes": list(nodes), "policy": policy} if nodes else {}


def _hotplug(plan: LaunchPlan) -> Iterator[str]:
    """Memory that is there, and of which the guest has nothing until it is asked to take some (QEMU,
    ``virtio-mem-pci``). ``reserve=off`` would need ``/proc``, which the jail has not."""
    if plan.hotplug_slot is None:
        return
    yield from ("-device", f"virtio-mem-pci,id={plugged.ID},memdev={plugged.BACKEND},addr={plan.hotplug_slot:#x}")


def _memory_bytes(plan: LaunchPlan) -> int:
    return plan.memory_mib * MIB + plan.padding_kib * KIB


def memory_size(plan: LaunchPlan) -> str:
    return f"{plan.memory_mib * 1024 + plan.padding_kib}K" if plan.padding_kib else f"{plan.memory_mib}M"


def _monitors(directory: str, handles: Handles) -> Iterator[str]:
    """Two: one to talk, and one that only logs events, so that a new daemon learns what it missed."""
    yield from ("-chardev", f"socket,id=control,fd={handles.control},server=on,wait=off")
    yield from ("-mon", "chardev=control,mode=control")
    log = quoted(handles.name("events-log", f"{directory}/events.log"))
    yield from ("-chardev", f"socket,id=events,fd={handles.events},server=on,wait=off,logfile={log},logappend=on")
    yield from ("-mon", "chardev=events,mode=control")


def _console(plan: LaunchPlan, directory: str, handles: Handles) -> Iterator[str]:
    log = quoted(handles.name("console-log", f"{directory}/console.log"))
    yield from (
        "-chardev",
        f"socket,id=console,fd={handles.console},server=on,wait=off,logfile={log},logappend=on",
    )
    if plan.console is ConsoleDevice.VIRTIO:
        yield from ("-device", f"virtio-serial-pci,id=serial,addr={_slot(plan, 'console')}")
        yield from ("-device", "virtconsole,chardev=console")
    else:
        yield from ("-device", "isa-serial,chardev=console")


def _boot(plan: LaunchPlan, directory: str, handles: Handles) -> Iterator[str]:
    if plan.direct_boot is not None:
        yield from ("-kernel", plan.direct_boot.kernel)
        if plan.direct_boot.ramdisk is not None:
            yield from ("-initrd", plan.direct_boot.ramdisk)
        if plan.direct_boot.cmdline:
            yield from ("-append", plan.direct_boot.cmdline)
    else:
        yield from ("-boot", "strict=on")
        if plan.firmware is Firmware.OVMF and plan.firmware_path is not None:
            code = {"driver": "file", "filename": plan.firmware_path, "node-name": "code", "read-only": True}
            path = handles.name("firmware-variables", f"{directory}/OVMF_VARS.fd")
            variables = {"driver": "file", "filename": path, "node-name": "variables"}
            yield from ("-blockdev", _json(code), "-blockdev", _json(variables))
            yield from ("-machine", "pflash0=code,pflash1=variables")
        elif plan.firmware_path is not None:
            yield from ("-bios", plan.firmware_path)
    for value in plan.smbios_oem:
        yield from ("-smbios", f"type=11,value={quoted(value)}")


def _fixed_devices(plan: LaunchPlan) -> Iterator[str]:
    yield from ("-object", "rng-random,id=entropy,filename=/dev/urandom")
    yield from ("-device", f"virtio-rng-pci,rng=entropy,addr={_slot(plan, 'rng')}")
    reports = ",free-page-reporting=on" if plan.reporting else ""
    yield from ("-device", f"virtio-balloon-pci,id=balloon,addr={_slot(plan, 'balloon')}{reports}")
    yield from ("-device", f"pvpanic-pci,addr={_slot(plan, 'panic')}")
    yield from ("-device", f"i6300esb,addr={_slot(plan, 'watchdog')}")
    for place in range(PLACES):
        several = ",multifunction=on" if place == 0 else ""
        address = f"{_slot(plan, 'ports')}.{place:#x}{several}"
        # QEMU demands that no two ports have both chassis and slot in common.
        yield from ("-device", f"pcie-root-port,id={devices.port_id(place)},addr={address},chassis={place + 1}")


def _agent(plan: LaunchPlan, handles: Handles) -> Iterator[str]:
    """The port that the QEMU guest agent knows by its name (qemu-ga(8)). What a guest writes while nobody is
    connected is thrown away; one that is not read stops only the process in the guest that writes."""
    if plan.agent_slot is None:
        return
    yield from ("-chardev", f"socket,id=agent,fd={handles.agent},server=on,wait=off")
    # Two ports: port 0 is always a console's. Each port costs two queues, and the default is 31.
    yield from ("-device", f"virtio-serial-pci,id=agent-bus,max_ports=2,addr={plan.agent_slot:#x}")
    yield from ("-device", f"virtserialport,bus=agent-bus.0,id=agent-port,chardev=agent,name={AGENT_PORT}")


def _slot(plan: LaunchPlan, device: str) -> str:
    return hex(dict(plan.slots)[device])


def _iothreads(plan: LaunchPlan) -> Iterator[str]:
    for name in iothreads(disk.engine for disk in plan.disks):
        yield from ("-object", f"iothread,id={name}")


def _disk(disk: DiskPlan, handles: Handles) -> Iterator[str]:
    if disk.path is None:
        yield from ("-device", f"ide-cd,id={disk.id},bus=ide.{disk.slot}{_boot_index(disk.boot_index)}")
        return
    file: dict[str, object] = {"driver": "host_device" if disk.device else "file", "filename": disk.path}
    file |= engines.file_options(disk.engine)
    if disk.shared:
        file["locking"] = "off"
    node = {
        "driver": str(disk.format),
        "node-name": disk.id,
        "read-only": not disk.writable,
        **engines.node_options(disk.engine),
        "file": file,
    }
    yield from ("-blockdev", _json(dict(handles.nodes).get(disk.id, node)))
    share = ",share-rw=on" if disk.shared else ""
    if disk.bus is Bus.AHCI:
        model = "ide-cd" if disk.cdrom else "ide-hd"
        place = f"bus=ide.{disk.slot}"
    else:
        model, place = "virtio-blk-pci", f"addr={hex(disk.slot)}"
    yield "-device"
    how = engines.device_options(disk.engine)
    yield f"{model},id={disk.id}-device,drive={disk.id},{place}{share}{how}{_boot_index(disk.boot_index)}"


def _nic(nic: NicPlan, handles: Handles) -> Iterator[str]:
    descriptor = dict(handles.taps).get(nic.index)
    if nic.kind is VifKind.BRIDGE:
        yield from ("-netdev", devices.words(devices.tap(nic, str(descriptor))))
    elif nic.kind is VifKind.USER and descriptor is not None:
        yield from ("-netdev", devices.words(devices.stream(nic, str(descriptor))))
    elif nic.kind is VifKind.USER:
        forwards = dict(handles.forwards).get(nic.index, ())
        yield from ("-netdev", devices.words(devices.user_network(nic, forwards)))
    yield from ("-device", devices.words(devices.card(nic)))


def _boot_index(index: int | None) -> str:
    return "" if index is None else f",bootindex={index}"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
