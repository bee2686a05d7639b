"""Keys that mean something to every guest: who it is, how big, what follows when it ends, how it boots."""

from __future__ import annotations

from wirt.config.xlcfg.keys.row import (
    BOOLEAN,
    HVM,
    NESTED,
    NUMBER,
    PVH,
    QEMU,
    STRINGS,
    TEXT,
    TEXT_OR_STRINGS,
    Group,
    Key,
)
from wirt.model.lifecycle import Action
from wirt.model.memory import HugePages

_ACTIONS = tuple(action.value for action in Action)
_INT_MAX = 2**31 - 1

IDENTITY = (
    Key(
        "name",
        TEXT,
        Group.IDENTITY,
        "What the domain is called; one host has each name only once.",
        default="none: it must be set",
        honoured=QEMU,
    ),
    Key(
        "type",
        TEXT,
        Group.IDENTITY,
        "How the guest meets its host: hvm has firmware and emulated devices and runs any system; pvh and pv "
        "enter a kernel directly and have paravirtual devices only.",
        default="pv",
        choices=("hvm", "pvh", "pv"),
        honoured=QEMU,
    ),
    Key(
        "builder",
        TEXT,
        Group.IDENTITY,
        "The old name of type: hvm means hvm, generic means pv.",
        choices=("hvm", "generic"),
        instead="type",
        honoured=QEMU,
    ),
    Key(
        "uuid",
        TEXT,
        Group.IDENTITY,
        "The domain's UUID, which never changes and outlives renaming.",
        default="a new random one",
        honoured=QEMU,
    ),
)

CPU = (
    Key(
        "pool",
        TEXT,
        Group.CPU,
        "The CPU pool whose processors run the guest.",
        default="Pool-0",
        honoured=QEMU,
    ),
    Key(
        "vcpus",
        NUMBER,
        Group.CPU,
        "How many virtual CPUs are online when the guest starts.",
        default="1",
        low=1,
        high=512,
        honoured=QEMU,
    ),
    Key(
        "maxvcpus",
        NUMBER,
        Group.CPU,
        "How many virtual CPUs the guest can have at most; those beyond vcpus start offline.",
        default="vcpus",
        low=1,
        high=512,
        honoured=QEMU,
    ),
    Key(
        "cpus",
        TEXT_OR_STRINGS,
        Group.CPU,
        'Host CPUs that may run the guest: "all", or numbers, ranges and NUMA nodes as in "0-3,node:1,^2", '
        "where ^ takes away. A list gives one such string to each virtual CPU in turn.",
        default="all",
        honoured=QEMU,
    ),
    Key(
        "cpus_soft",
        TEXT_OR_STRINGS,
        Group.CPU,
        "Host CPUs that the guest prefers, written as for cpus; others are used when these are busy. The "
        "distributor follows it (setting distribution).",
        default="no preference",
        honoured=QEMU,
    ),
    Key(
        "cpu_model",
        TEXT,
        Group.CPU,
        "The CPU that the guest sees: a model's name (wirt cpu list), x86-64-v1 to x86-64-v4, host or max, then "
        "features that it gets besides or does not get, as in x86-64-v2,+aes,-x2apic. wirt cpu baseline finds the "
        "one that several hosts have. xl does not know this key.",
        default="the host's own under KVM; what every supported QEMU emulates elsewhere",
        honoured=QEMU,
    ),
    Key(
        "cpu_weight",
        NUMBER,
        Group.CPU,
        "The guest's share of CPU time when there is not enough: twice the weight gets twice the time.",
        default="256",
        low=1,
        high=65535,
        honoured=QEMU,
    ),
    Key(
        "cap",
        NUMBER,
        Group.CPU,
        "The most CPU time the guest gets, even on an idle host, in percent of one CPU; 0 is no limit.",
        default="0",
        low=0,
        honoured=QEMU,
    ),
    Key(
        "period",
        NUMBER,
        Group.CPU,
        "In microseconds: in each such time a virtual CPU may run for its budget. Nothing without a budget.",
        default="10000",
        low=0,
        honoured=QEMU,
    ),
    Key(
        "budget",
        NUMBER,
        Group.CPU,
        "How long each virtual CPU may run within a period, in microseconds; 0 is no budget. Xen has it as an "
        "option of sched-rtds only; xl does not know this key.",
        default="0",
        low=0,
        honoured=QEMU,
    ),
    Key("slice", NUMBER, Group.CPU, "Time slice within the period, for Xen's old sedf scheduler.", low=0),
    Key("latency", NUMBER, Group.CPU, "Scaled period after blocking, for Xen's old sedf scheduler.", low=0),
    Key(
        "extratime",
        NUMBER,
        Group.CPU,
        "Whether a virtual CPU that has used up its budget may have what is over as well.",
        default="0",
        low=0,
        honoured=QEMU,
    ),
)

MEMORY = (
    Key(
        "memory",
        NUMBER,
        Group.MEMORY,
        "Memory that the guest starts with, in MiB.",
        default="maxmem; without that, 128",
        low=1,
        high=2**40,
        honoured=QEMU,
    ),
    Key(
        "maxmem",
        NUMBER,
        Group.MEMORY,
        "The most memory the guest can ever have, in MiB; not less than memory. With more than memory the "
        "guest starts ballooned and needs a balloon driver.",
        default="memory",
        low=1,
        high=2**40,
        honoured=QEMU,
    ),
    Key(
        "hotplug_memory",
        NUMBER,
        Group.MEMORY,
        "Memory in MiB, a multiple of 128, that can be plugged in beyond maxmem while the guest runs (wirt "
        "mem-max, wirt mem-set). The guest needs a driver for it (Linux since 5.8: virtio_mem). xl does not know "
        "this key.",
        default="0",
        low=0,
        high=2**30,
        honoured=QEMU,
    ),
    Key(
        "free_page_reporting",
        BOOLEAN,
        Group.MEMORY,
        "Give memory that the guest has freed back to the host, without being asked (Linux since 5.7). xl does "
        "not know this key.",
        default="1 (setting free-page-reporting)",
        honoured=QEMU,
    ),
    Key(
        "hugepages",
        TEXT,
        Group.MEMORY,
        "The pages that the guest's memory lies in: 2M or 1G, of those that the host has set aside and that are "
        "the guest's for good; transparent ones, which the kernel makes by itself; or off: as the kernel likes. "
        "xl does not know this key.",
        default="off",
        choices=tuple(each.value for each in HugePages),
        honoured=QEMU,
    ),
    Key(
        "mem_merge",
        BOOLEAN,
        Group.MEMORY,
        "Let KSM share pages that are the same in other guests, where the host does so (setting ksm). xl does not "
        "know this key.",
        default="1",
        honoured=QEMU,
    ),
    Key(
        "memory_guarantee",
        NUMBER,
        Group.MEMORY,
        "Memory in MiB that ballooning leaves the guest in any case; not more than maxmem. xl does not know this "
        "key.",
        default="what the class of qos says; without that, memory",
        low=1,
        high=2**40,
        honoured=QEMU,
    ),
    Key(
        "vnuma",
        NESTED,
        Group.MEMORY,
        "The guest's own NUMA nodes, one list each: pnode (host node), size (MiB), vcpus, vdistances.",
        default="one node",
    ),
)

EVENTS = (
    Key(
        "on_poweroff",
        TEXT,
        Group.EVENTS,
        "What to do when the guest has shut itself down.",
        default="destroy",
        choices=_ACTIONS,
        honoured=QEMU,
    ),
    Key(
        "on_reboot",
        TEXT,
        Group.EVENTS,
        "What to do when the guest asks for a reboot.",
        default="restart",
        choices=_ACTIONS,
        honoured=QEMU,
    ),
    Key(
        "on_watchdog",
        TEXT,
        Group.EVENTS,
        "What to do when the guest's watchdog has run out.",
        default="destroy",
        choices=_ACTIONS,
        honoured=QEMU,
    ),
    Key(
        "on_crash",
        TEXT,
        Group.EVENTS,
        "What to do when the guest has crashed.",
        default="destroy",
        choices=_ACTIONS,
        honoured=QEMU,
    ),
    Key(
        "on_soft_reset",
        TEXT,
        Group.EVENTS,
        "What to do when the guest resets its paravirtual interfaces and goes on, as kexec does.",
        default="soft-reset",
        choices=_ACTIONS,
        honoured=QEMU,
    ),
)

BOOT = (
    Key(
        "kernel",
        TEXT,
        Group.BOOT,
        "The kernel image that is entered directly, without firmware.",
        honoured=QEMU,
        path=True,
    ),
    Key("ramdisk", TEXT, Group.BOOT, "The initial RAM disk that goes with kernel.", honoured=QEMU, path=True),
    Key(
        "cmdline",
        TEXT,
        Group.BOOT,
        "The kernel's command line. When it is set, root and extra are ignored.",
        default="made from root and extra",
        honoured=QEMU,
    ),
    Key("root", TEXT, Group.BOOT, "Starts the kernel's command line with root= and this value.", honoured=QEMU),
    Key("extra", TEXT, Group.BOOT, "What follows root on the kernel's command line.", honoured=QEMU),
    Key(
        "firmware",
        TEXT,
        Group.BOOT,
        "Boot through firmware. hvm: bios, seabios, rombios, uefi, ovmf, or the path of an image. pv and pvh: "
        "pvgrub32 or pvgrub64.",
        default="bios (hvm)",
        honoured=QEMU,
    ),
    Key("pvshim", BOOLEAN, Group.BOOT, "Run the guest as pv inside a pvh container.", default="0", guests=PVH),
    Key("pvshim_path", TEXT, Group.BOOT, "The shim's image, if not the one Xen comes with.", guests=PVH),
    Key(
        "pvshim_cmdline",
        TEXT,
        Group.BOOT,
        "The shim's command line.",
        default="pv-shim console=xen,pv",
        guests=PVH,
    ),
    Key("pvshim_extra", TEXT, Group.BOOT, "What is added to the shim's command line.", guests=PVH),
    Key(
        "boot",
        TEXT,
        Group.BOOT,
        "Where the firmware looks for a system, in this order: c is a disk, d a CD, n the network.",
        default="cd",
        guests=HVM,
        honoured=QEMU,
    ),
)

OTHER = (
    Key(
        "disk_weight",
        NUMBER,
        Group.OTHER,
        "The guest's share of a disk that several ask for more than it can do: twice the weight gets twice as "
        "much. wirt info says whether this host's disks look at weights. xl does not know this key.",
        default="100",
        low=1,
        high=1000,
        honoured=QEMU,
    ),
    Key(
        "network_weight",
        NUMBER,
        Group.OTHER,
        "The guest's share of what a network's way out carries (wirt network create --share) while its guests ask "
        "for more: twice the weight gets twice as much. xl does not know this key.",
        default="100",
        low=1,
        high=1000,
        honoured=QEMU,
    ),
    Key(
        "qos",
        TEXT,
        Group.OTHER,
        "The class of service (wirt qos-class) that the guest runs with: weight, cap, limits of disks and cards, "
        "guarantee of memory. What the configuration says of these itself comes first. xl does not know this key.",
        default="none",
        honoured=QEMU,
    ),
    Key("seclabel", TEXT, Group.OTHER, "The domain's XSM security label."),
    Key(
        "init_seclabel",
        TEXT,
        Group.OTHER,
        "An XSM label that holds while the domain is built, before seclabel takes over.",
    ),
    Key(
        "max_grant_frames",
        NUMBER,
        Group.OTHER,
        "Pages of grant table: how much memory the guest can share with others.",
        default="from xl.conf(5)",
        low=0,
        high=_INT_MAX,
    ),
    Key(
        "max_maptrack_frames",
        NUMBER,
        Group.OTHER,
        "Pages for tracking the memory of others that the guest has mapped.",
        default="from xl.conf(5)",
        low=0,
        high=_INT_MAX,
    ),
    Key(
        "max_grant_version",
        NUMBER,
        Group.OTHER,
        "The newest grant table version the guest may use.",
        default="from xl.conf(5)",
        low=0,
        high=_INT_MAX,
    ),
    Key(
        "nomigrate",
        BOOLEAN,
        Group.OTHER,
        "The guest will never move, so features that don't survive a move may be shown to it.",
        default="0",
    ),
    Key(
        "driver_domain", BOOLEAN, Group.OTHER, "The guest drives devices on behalf of other domains.", default="0"
    ),
    Key(
        "device_tree",
        TEXT,
        Group.OTHER,
        "A compiled partial device tree whose /passthrough and /aliases are given to the guest (Arm). It is "
        "not checked, so it must be trusted.",
        path=True,
    ),
    Key(
        "passthrough",
        TEXT,
        Group.OTHER,
        "Whether and how the IOMMU maps the guest's memory.",
        default="default: enabled when a host device is handed over",
        choices=("default", "disabled", "enabled", "sync_pt", "share_pt"),
    ),
    Key(
        "xend_suspend_evtchn_compat",
        BOOLEAN,
        Group.OTHER,
        "Let the guest write all of its device tree in xenstore instead of using a suspend event channel; "
        "for very old paravirtual drivers.",
        default="0",
    ),
    Key(
        "vmtrace_buf_kb",
        NUMBER,
        Group.OTHER,
        "Trace buffer of each virtual CPU in KiB; 0 is off.",
        default="0",
        low=0,
    ),
    Key("vpmu", BOOLEAN, Group.OTHER, "Give the guest the real performance counters (Arm).", default="0"),
    Key(
        "xenstore_feature_mask",
        NUMBER,
        Group.OTHER,
        "Bits of the xenstore features that the guest may see; fewer make it movable to older hosts.",
        default="0xffffffff",
        low=0,
        high=0xFFFFFFFF,
    ),
    Key(
        "xenstore_quota",
        STRINGS,
        Group.OTHER,
        "Xenstore limits of this domain, each as name=value.",
        default="xenstore's own",
    ),
    Key(
        "max_event_channels",
        NUMBER,
        Group.OTHER,
        "How many event channels the guest may use.",
        default="1023",
        low=0,
        high=_INT_MAX,
    ),
    Key(
        "tee",
        TEXT,
        Group.OTHER,
        "Which trusted execution environment the guest may reach (Arm).",
        default="none",
        choices=("none", "optee", "ffa"),
    ),
)

ROWS = IDENTITY + CPU + MEMORY + EVENTS + BOOT + OTHER
