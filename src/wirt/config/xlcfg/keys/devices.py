"""Disks, cards and other devices; host devices; and how the device model is run."""

from __future__ import annotations

from wirt.config.xlcfg.keys.row import (
    BOOLEAN,
    HVM,
    NESTED,
    NUMBER,
    PV,
    PVH,
    QEMU,
    STRINGS,
    TEXT,
    TEXT_OR_STRINGS,
    Group,
    Key,
    Kind,
)

_LOADED = PV | PVH

DEVICES = (
    Key(
        "disk",
        STRINGS,
        Group.DEVICES,
        "The guest's disks, each as target,format,vdev,access or with names: format, vdev, access, devtype, "
        "backendtype, and target= last. See xl-disk-configuration(5). wirt adds how it is to be served, which it "
        "chooses by itself otherwise: cache=none|writeback|directsync|writethrough|unsafe, "
        "aio=io_uring|native|threads, detect-zeroes=off|on|unmap, iothread=none|shared|own and queues=1 to 64; "
        "and limits (wirt disk-qos): iops=100, iops-read, iops-write, bps=10M, bps-read, bps-write, each with a "
        "burst as in iops-burst=500, burst-seconds=10, and qos-group=NAME for disks that share limits, which one "
        "of them names.",
        default="none",
        honoured=QEMU,
    ),
    Key(
        "vif",
        STRINGS,
        Group.DEVICES,
        "The guest's network cards, each as comma-separated name=value: mac, bridge, model, type, rate, ip, "
        "vifname and more; an empty string takes all defaults. wirt adds net=user|bridge|none, "
        "forward=tcp:HOSTPORT:GUESTPORT, network=NAME (of wirt network), groups=web ssh (security groups), "
        "antispoof=0 (it may send under any address) and rate-in= (of what it is sent; rate= is of what it "
        "sends). See xl-network-configuration(5).",
        default="none",
        honoured=QEMU,
    ),
    Key("vif2", STRINGS, Group.DEVICES, "A network card interface that xl itself has given up.", instead="vif"),
    Key("vtpm", STRINGS, Group.DEVICES, "Virtual TPMs, each with backend= and uuid=.", default="none"),
    Key(
        "p9",
        STRINGS,
        Group.DEVICES,
        "Host directories shared over 9pfs, each with tag=, path=, security_model= and limits.",
        default="none",
    ),
    Key("pvcalls", STRINGS, Group.DEVICES, "Sockets that a backend domain opens for the guest.", default="none"),
    Key(
        "vfb",
        STRINGS,
        Group.DEVICES,
        "Paravirtual framebuffers, each with vnc=, vnclisten=, vncdisplay=, vncunused=, vncpasswd=, sdl=, "
        "display=, xauthority=, keymap=.",
        default="none",
    ),
    Key("vkb", STRINGS, Group.DEVICES, "Paravirtual keyboards and pointers.", default="none"),
    Key(
        "channel",
        STRINGS,
        Group.DEVICES,
        "Narrow byte streams between guest and host, each with name= and connection=socket or pty.",
        default="none",
    ),
    Key(
        "vdispl", STRINGS, Group.DEVICES, "Paravirtual displays: backend=, be-alloc=, connectors=.", default="none"
    ),
    Key(
        "vsnd",
        NESTED,
        Group.DEVICES,
        "Paravirtual sound cards, one list each, with their streams.",
        default="none",
    ),
    Key(
        "virtio",
        STRINGS,
        Group.DEVICES,
        "Virtio devices of a backend domain: type=, transport=mmio, backend=, grant_usage=.",
        default="none",
    ),
    Key("usbctrl", STRINGS, Group.DEVICES, "USB controllers: type=, version=, ports=.", default="none"),
    Key(
        "usbdev",
        STRINGS,
        Group.DEVICES,
        "USB devices of the host: type=hostdev, hostbus=, hostaddr=, controller=, port=.",
        default="none",
    ),
)

PASSTHROUGH = (
    Key(
        "pci",
        STRINGS,
        Group.PASSTHROUGH,
        "PCI devices of the host, by address; see xl-pci-configuration(5).",
        default="none",
    ),
    Key(
        "pci_permissive",
        BOOLEAN,
        Group.PASSTHROUGH,
        "Let the guest write all of the configuration space of its PCI devices.",
        default="0",
    ),
    Key(
        "pci_msitranslate",
        BOOLEAN,
        Group.PASSTHROUGH,
        "Turn MSI interrupts of its PCI devices into legacy ones for the guest.",
        default="0",
    ),
    Key(
        "pci_seize",
        BOOLEAN,
        Group.PASSTHROUGH,
        "Take PCI devices from their host drivers when the guest starts.",
        default="0",
    ),
    Key(
        "pci_power_mgmt",
        BOOLEAN,
        Group.PASSTHROUGH,
        "Let the guest set power states of its PCI devices.",
        default="0",
        guests=HVM,
    ),
    Key(
        "gfx_passthru",
        (Kind.BOOLEAN, Kind.STRING),
        Group.PASSTHROUGH,
        "Make a graphics card handed over with pci the guest's main one; igd says that it is Intel's.",
        default="0",
        choices=("default", "igd"),
        guests=HVM,
    ),
    Key(
        "rdm",
        TEXT,
        Group.PASSTHROUGH,
        "How memory that devices reserve is kept free in the guest: strategy=host, policy=strict or relaxed.",
        guests=HVM,
    ),
    Key(
        "rdm_mem_boundary",
        NUMBER,
        Group.PASSTHROUGH,
        "MiB above which memory gives way to device reservations rather than the other way round.",
        default="2048",
        low=0,
        guests=HVM,
    ),
    Key(
        "dtdev",
        STRINGS,
        Group.PASSTHROUGH,
        "Device tree nodes of the host that the guest gets (Arm).",
        default="none",
    ),
    Key(
        "ioports",
        STRINGS,
        Group.PASSTHROUGH,
        "Legacy I/O ports the guest may use, in hex, such as 2f8-2ff.",
        default="none",
    ),
    Key(
        "iomem",
        STRINGS,
        Group.PASSTHROUGH,
        "Pages of device memory the guest may use: START,COUNT or START,COUNT@GFN in hex.",
        default="none",
    ),
    Key("irqs", STRINGS, Group.PASSTHROUGH, "Physical interrupts the guest may use.", default="none"),
)

BOOTLOADER = (
    Key(
        "bootloader",
        TEXT,
        Group.BOOTLOADER,
        "A program in Domain-0 that finds kernel and RAM disk inside the guest's disk, usually pygrub.",
        guests=_LOADED,
    ),
    Key(
        "bootloader_args",
        TEXT_OR_STRINGS,
        Group.BOOTLOADER,
        "Arguments for the boot loader; a single string is split at blanks (deprecated).",
        guests=_LOADED,
    ),
    Key(
        "bootloader_restrict",
        BOOLEAN,
        Group.BOOTLOADER,
        "Take privileges from the boot loader.",
        default="0",
        guests=_LOADED,
    ),
    Key(
        "bootloader_user",
        TEXT,
        Group.BOOTLOADER,
        "The user that a restricted boot loader runs as.",
        guests=_LOADED,
    ),
    Key(
        "e820_host",
        BOOLEAN,
        Group.BOOTLOADER,
        "Lay the guest's memory out with the holes of the host's own map, for host PCI devices.",
        default="1 with host PCI devices, else 0",
        guests=PV,
    ),
)

DEVICE_MODEL = (
    Key(
        "device_model_version",
        TEXT,
        Group.DEVICE_MODEL,
        "Which device model emulates the devices.",
        default="qemu-xen",
        choices=("qemu-xen", "qemu-xen-traditional"),
    ),
    Key("device_model_override", TEXT, Group.DEVICE_MODEL, "The device model's program, if not the usual one."),
    Key(
        "device_model",
        TEXT,
        Group.DEVICE_MODEL,
        "An old key that xl refuses to act on.",
        instead="device_model_override",
    ),
    Key(
        "device_model_stubdomain_override",
        BOOLEAN,
        Group.DEVICE_MODEL,
        "Run the device model in a domain of its own.",
        default="0",
    ),
    Key(
        "device_model_stubdomain_seclabel",
        TEXT,
        Group.DEVICE_MODEL,
        "The XSM security label of the device model's domain.",
    ),
    Key("stubdomain_kernel", TEXT, Group.DEVICE_MODEL, "The kernel of the device model's domain."),
    Key("stubdomain_cmdline", TEXT, Group.DEVICE_MODEL, "The command line of that kernel."),
    Key("stubdomain_ramdisk", TEXT, Group.DEVICE_MODEL, "The RAM disk of the device model's domain."),
    Key(
        "stubdomain_memory",
        NUMBER,
        Group.DEVICE_MODEL,
        "Memory of the device model's domain in MiB.",
        default="128",
        low=1,
    ),
    Key(
        "device_model_args",
        STRINGS,
        Group.DEVICE_MODEL,
        "More arguments for the device model's command line, one string each, unchecked.",
        honoured=QEMU,
    ),
    Key(
        "device_model_args_pv",
        STRINGS,
        Group.DEVICE_MODEL,
        "As device_model_args, for guests without emulated devices.",
        guests=_LOADED,
        honoured=QEMU,
    ),
    Key(
        "device_model_args_hvm",
        STRINGS,
        Group.DEVICE_MODEL,
        "As device_model_args, for hvm guests.",
        guests=HVM,
        honoured=QEMU,
    ),
    Key(
        "guest_agent",
        BOOLEAN,
        Group.DEVICE_MODEL,
        "Give the guest the port that a QEMU guest agent in it answers on. xl does not know this key.",
        default="1, where a PCI slot is free for it",
        honoured=QEMU,
    ),
    Key(
        "dm_restrict",
        BOOLEAN,
        Group.DEVICE_MODEL,
        "Take privileges from the device model once it runs.",
        default="0",
    ),
    Key(
        "device_model_user",
        TEXT,
        Group.DEVICE_MODEL,
        "The user that a restricted device model runs as; every domain needs its own.",
    ),
)

ROWS = DEVICES + PASSTHROUGH + BOOTLOADER + DEVICE_MODEL
