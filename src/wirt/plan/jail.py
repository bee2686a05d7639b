"""What one run's QEMU may reach: a jail planned from its launch plan and the host's facts. Pure.

The rule is that QEMU sees no file that it could be handed. Disks, logs and ``/dev/kvm`` are opened by the daemon
and inherited, so the jailed uid needs no right on any of them; kernel and firmware are shown read-only; the rest
of the host is not there. Sources: qemu-system-x86_64(1) ``-add-fd``, bwrap(1), setrlimit(2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from wirt.model.devices import DiskFormat, VifKind
from wirt.model.domain import Firmware
from wirt.model.engine import Aio
from wirt.model.units import MIB
from wirt.plan.host import Accelerator
from wirt.plan.launch import DEFAULT_WEIGHT, LaunchPlan

UID_BASE, UID_COUNT = 1_900_000_000, 100_000
"""From the numbers that systemd's table (systemd.io/UIDS-GIDS) calls unused: above those of containers, below the
foreign ones. A site that uses them for something else chooses others."""

OVERHEAD_MIB = 256
"""QEMU's own memory beside the guest's: 60 to 130 MiB measured; migration and disk caches take their share."""
TRANSLATION_BUFFER_MIB = 128
VCPU_MIB = 8
SPARE_THREADS = 128
"""QEMU's thread pool has at most 64 (util/thread-pool.c), migration with multifd up to 16 and its own."""
OPEN_FILES = 1024
FILE_SLACK_BYTES = 64 * MIB
LEAST_FILE_BYTES = 1024 * MIB
QCOW2_TABLES_SHARE = 1024
"""L2 tables and refcounts take less than 1/1024 of the virtual size with 64 KiB clusters (qcow2.txt)."""
LOGS_BYTES = 16 * MIB
CREDENTIALS = "credentials"
"""In the run's directory: what is shown to QEMU there (certificates of one migration) is not there at launch."""


class Access(StrEnum):
    """The access mode that a descriptor is opened with: QEMU picks from a set by exactly that."""

    READ = "read"
    WRITE = "write"
    APPEND = "append"


@dataclass(frozen=True, slots=True)
class Layer:
    """One file of a disk's chain, the disk itself first. ``virtual_bytes`` is what the guest sees of it,
    ``size_bytes`` how large the file is now."""

    path: str
    format: DiskFormat
    device: bool = False
    virtual_bytes: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Handed:
    """A file that is opened by the daemon and inherited by QEMU as ``/dev/fdset/SET``. ``what`` names it: a disk's
    id with the depth in its chain, or a log."""

    set: int
    what: str
    path: str
    access: Access
    layer: Layer | None = None
    direct: bool = False
    """Past the host's memory. QEMU from 9.1 on takes a descriptor for that only if it is one already."""

    @property
    def name(self) -> str:
        return f"/dev/fdset/{self.set}"


@dataclass(frozen=True, slots=True)
class Limits:
    """``memory_bytes`` and ``processes`` go to the run's cgroup, the rest are limits of the process.
    ``file_bytes`` is the length that no file can be written beyond: what a disk may grow to."""

    memory_bytes: int
    processes: int
    open_files: int
    file_bytes: int
    core_bytes: int = 1
    """One byte is too little for any core, and tells the kernel to start no program for one either, which 0 does
    not (Linux, fs/coredump.c; core(5))."""
    cpu_weight: int = DEFAULT_WEIGHT
    """The share of CPU time beside other runs, for the cgroup: 256 is what a group without weights has."""


@dataclass(frozen=True, slots=True)
class Uids:
    """The run takes the first uid that is free, from ``base + start`` on and around. Which are free only the one
    who holds their lock can say, so this is the only choice that is left to the adapter."""

    base: int
    count: int
    start: int

    def in_order(self) -> Iterator[int]:
        for step in range(self.count):
            yield self.base + (self.start + step) % self.count


@dataclass(frozen=True, slots=True)
class JailHost:
    """What the planner must know of the host. ``program`` is the real path of QEMU, and its first argument in the
    jail. ``unreadable``: files that an ordinary user can't read, so that they
    are copied in. ``kvm_group``: whom ``/dev/kvm`` belongs to, when its group may use it. ``resolver``: the file
    that names the host's name servers, if there is one. ``no_passt``: why user-mode cards don't go through passt;
    ``None`` when they do."""

    root: bool
    program: str
    program_files: tuple[str, ...]
    kvm_by_descriptor: bool = True
    kvm_group: int | None = None
    unreadable: frozenset[str] = frozenset()
    resolver: str | None = None
    no_passt: str | None = "passt is not used"
    uid_base: int = UID_BASE
    uid_count: int = UID_COUNT


@dataclass(frozen=True, slots=True)
class JailPlan:
    """Everything about one jail. ``uids`` is ``None`` where the process keeps the daemon's own uid (rootless).
    ``weaker`` says, a sentence each, what this guest's configuration takes away from the jail."""

    name: str
    directory: str
    program: str
    uids: Uids | None
    groups: tuple[int, ...]
    shown: tuple[str, ...]
    """Paths that are there read-only, under their own names."""
    copied: tuple[str, ...]
    """Files that are there as copies, because the jailed uid may not read the originals."""
    devices: tuple[str, ...]
    handed: tuple[Handed, ...]
    private_network: bool
    limits: Limits
    passt: bool = False
    """User-mode cards go through passt, a process beside QEMU."""
    logs_bytes: int = LOGS_BYTES
    io_uring: bool = False
    """A disk is served with it, so the process may make rings: what those do passes by the filter of system calls,
    though by no other wall of the jail."""
    weaker: tuple[str, ...] = ()

    def handed_for(self, what: str) -> Handed | None:
        return next((handed for handed in self.handed if handed.what == what), None)


@dataclass(slots=True)
class _Sets:
    handed: list[Handed] = field(default_factory=list)

    def add(
        self, what: str, path: str, access: Access, layer: Layer | None = None, *, direct: bool = False
    ) -> None:
        self.handed.append(Handed(len(self.handed) + 1, what, path, access, layer, direct))


def plan_jail(
    plan: LaunchPlan, directory: str, host: JailHost, chains: Mapping[str, tuple[Layer, ...]]
) -> JailPlan:
    """The jail for one run of ``plan``.

    ``directory`` is the run's own, and no other's on this host; ``chains`` has the layers of each disk by its id.
    """
    kvm = plan.accelerator is Accelerator.KVM
    files = tuple(names_read(plan))
    user_mode = host.no_passt is not None and any(nic.kind is VifKind.USER for nic in plan.nics)
    # QEMU's own user-mode network looks there for whom to ask.
    resolver = (host.resolver,) if user_mode and host.resolver is not None else ()
    by_node = kvm and not host.kvm_by_descriptor
    return JailPlan(
        name=run_name(plan, directory),
        directory=directory,
        program=host.program,
        uids=Uids(host.uid_base, host.uid_count, plan.domid % host.uid_count) if host.root else None,
        groups=(host.kvm_group,) if by_node and host.root and host.kvm_group is not None else (),
        shown=tuple(
            dict.fromkeys(
                (
                    *host.program_files,
                    *resolver,
                    *(p for p in files if p not in host.unreadable),
                    f"{directory}/{CREDENTIALS}",
                )
            )
        ),
        copied=tuple(path for path in dict.fromkeys(files) if path in host.unreadable),
        devices=("/dev/null", "/dev/urandom", *(("/dev/kvm",) if by_node else ())),
        handed=_handed(plan, directory, chains, kvm=kvm and host.kvm_by_descriptor),
        private_network=not user_mode,
        passt=host.no_passt is None and any(nic.kind is VifKind.USER for nic in plan.nics),
        limits=_limits(plan, chains),
        io_uring=_with_io_uring(plan),
        weaker=tuple(_weaker(plan, host.no_passt if user_mode else None)),
    )


def _with_io_uring(plan: LaunchPlan) -> bool:
    return any(disk.engine.aio is Aio.IO_URING for disk in plan.disks if disk.path is not None)


def run_name(plan: LaunchPlan, directory: str) -> str:
    """A name for what the host keeps of a run (its control group): one domain may be twice on one machine, in two
    homes, or while it moves."""
    return f"{plan.uuid}-{hashlib.sha256(directory.encode(errors='surrogateescape')).hexdigest()[:8]}"


def names_read(plan: LaunchPlan) -> Iterator[str]:
    """What QEMU opens by name because it takes no descriptor there (``-kernel``, ``-initrd``, ``-bios``)."""
    if plan.direct_boot is not None:
        yield plan.direct_boot.kernel
        if plan.direct_boot.ramdisk is not None:
            yield plan.direct_boot.ramdisk
    elif plan.firmware_path is not None:
        yield plan.firmware_path


def _handed(
    plan: LaunchPlan, directory: str, chains: Mapping[str, tuple[Layer, ...]], *, kvm: bool
) -> tuple[Handed, ...]:
    sets = _Sets()
    sets.add("events-log", f"{directory}/events.log", Access.APPEND)
    sets.add("console-log", f"{directory}/console.log", Access.APPEND)
    if plan.direct_boot is None and plan.firmware is Firmware.OVMF:
        sets.add("firmware-variables", f"{directory}/OVMF_VARS.fd", Access.WRITE)
    for disk in plan.disks:
        # Each use of a file is opened for itself: two that shared one open file would share its lock as well.
        for depth, layer in enumerate(chains.get(disk.id, ()) if disk.path is not None else ()):
            writable = disk.writable and depth == 0
            access = Access.WRITE if writable else Access.READ
            direct = depth == 0 and disk.engine.cache.direct
            sets.add(f"{disk.id}/{depth}", layer.path, access, layer, direct=direct)
    if kvm:
        sets.add("kvm", "/dev/kvm", Access.WRITE)
    return tuple(sets.handed)


def _limits(plan: LaunchPlan, chains: Mapping[str, tuple[Layer, ...]]) -> Limits:
    mib = plan.memory_mib + plan.plugged_mib + beside_mib(plan.maxvcpus, plan.accelerator)
    memory_bytes = (plan.memory_mib + plan.hotplug_mib) * MIB  # which may be written into a file
    writable = [chains[disk.id][0] for disk in plan.disks if disk.writable and chains.get(disk.id)]
    return Limits(
        memory_bytes=mib * MIB,
        processes=plan.maxvcpus + SPARE_THREADS,
        open_files=OPEN_FILES,
        file_bytes=max([LEAST_FILE_BYTES, memory_bytes + FILE_SLACK_BYTES, *map(most_bytes, writable)]),
        cpu_weight=plan.cpu_weight,
    )


def beside_mib(vcpus: int, accelerator: Accelerator) -> int:
    """What QEMU may take besides the guest's memory."""
    mib = OVERHEAD_MIB + vcpus * VCPU_MIB
    return mib + TRANSLATION_BUFFER_MIB if accelerator is Accelerator.TCG else mib


def most_bytes(layer: Layer) -> int:
    """How long the file of ``layer`` may become: all that the guest can fill it with, and the format's tables."""
    if layer.device or layer.format is DiskFormat.RAW:
        return layer.size_bytes
    tables = layer.virtual_bytes // QCOW2_TABLES_SHARE
    return max(layer.size_bytes, layer.virtual_bytes + tables) + FILE_SLACK_BYTES


def _weaker(plan: LaunchPlan, no_passt: str | None) -> Iterator[str]:
    if no_passt is not None:
        yield (
            f"QEMU is in the host's network namespace, where its user-mode card has its network ({no_passt}); "
            "passt, or a card on a bridge, takes that away"
        )
    elif any(forward.protocol == "udp" for forward in plan.forwards()):
        yield "passt lets the guest reach services on the host's loopback, for it forwards a UDP port to it"
    if plan.extra_arguments:
        yield "device_model_args are passed as they stand; files that they name are not there in the jail"
