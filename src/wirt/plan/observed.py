"""What a running domain's process was seen to have, and what its jail was to leave it: the two sides of an audit.

``None`` in the place of a value: it could not be looked at, and ``unseen`` says why.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from wirt.plan.jail import Access, JailPlan

CAPABILITY_SETS = ("inheritable", "permitted", "effective", "bounding", "ambient")
"""capabilities(7)."""


class FileKind(StrEnum):
    """``anonymous``: behind the descriptor is a thing of the kernel's, which ``target`` names; ``memory``: a file
    that was never anywhere but in memory (memfd_create(2))."""

    REGULAR = "regular"
    BLOCK = "block"
    CHARACTER = "character"
    DIRECTORY = "directory"
    PIPE = "pipe"
    SOCKET = "socket"
    ANONYMOUS = "anonymous"
    MEMORY = "memory"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class OpenFile:
    """``access``: read, write, append, read-write or path. ``same_as`` are the planned paths that are this very
    file; ``tap`` is the network device of a tun descriptor; ``identity`` is :func:`file_identity`."""

    number: int
    target: str
    kind: FileKind
    access: str
    inode: int = 0
    same_as: tuple[str, ...] = ()
    tap: str | None = None
    identity: str = ""


def file_identity(mode: int, device: int, inode: int, special: int) -> str:
    """Who a file is, whatever it is called, from its ``st_mode``, ``st_dev``, ``st_ino`` and ``st_rdev``
    (inode(7))."""
    return f"b{special:x}-0" if stat.S_ISBLK(mode) else f"f{device:x}-{inode:x}"


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """``family``: unix, tcp, udp, raw, packet, netlink or unknown; ``name`` its address or path, which may be
    empty. ``descriptors`` of the process that are it: none for one that only is in its network namespace."""

    family: str
    name: str
    listening: bool
    descriptors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Mount:
    point: str
    writable: bool
    kind: str


@dataclass(frozen=True, slots=True)
class Rights:
    """Of all threads together: the most that any of them has. ``capabilities`` by set, as masks."""

    threads: int
    uids: frozenset[int]
    gids: frozenset[int]
    groups: frozenset[int]
    capabilities: Mapping[str, int]
    no_new_privs: bool
    seccomp_modes: frozenset[int]
    filters: int
    tracer: int = 0


@dataclass(frozen=True, slots=True)
class Limit:
    """``None``: unlimited."""

    soft: int | None
    hard: int | None


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """Where a process is in one hierarchy. ``controllers`` is empty for version 2; ``able`` are those of memory
    and pids that can bound it there. Limits are those in force, the least of the group's own and of all above it;
    ``None`` for none. ``devices`` is version 1's list."""

    controllers: tuple[str, ...]
    place: str
    able: frozenset[str] = frozenset()
    memory_bytes: int | None = None
    processes: int | None = None
    devices: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """One process. ``namespaces`` says of each kind whether it is another than the observer's; ``control_groups``
    are those of all its threads; ``listening`` is in its network namespace, ``devices`` the network's there."""

    pid: int
    program: str | None = None
    parents: tuple[tuple[int, str], ...] = ()
    rights: Rights | None = None
    namespaces: Mapping[str, bool] | None = None
    mounts: tuple[Mount, ...] | None = None
    files: tuple[OpenFile, ...] | None = None
    sockets: tuple[OpenSocket, ...] | None = None
    listening: tuple[OpenSocket, ...] | None = None
    network_devices: tuple[str, ...] | None = None
    control_groups: tuple[ControlGroup, ...] | None = None
    limits: Mapping[str, Limit] | None = None
    core_pattern: str | None = None
    environment: tuple[str, ...] | None = None
    secrets: tuple[str, ...] | None = None
    """Options on its command line that carry a secret, without it."""
    unseen: Mapping[str, str] = field(default_factory=dict)
    """Why a field is ``None``, by its name."""


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """``disk``: a layer of a disk, which comes and goes while the run is there. ``identity`` tells it from others
    that get its name; where it is empty the name does."""

    path: str
    access: Access
    disk: bool = False
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """A jail as it was built, or for a run without one (``jailed`` is false) as it would be. ``uid`` ``None``: the
    daemon's own, as in a rootless jail. ``visible`` are the paths that are mounted there; ``control_groups`` the
    directories of its groups, ``device_rules`` what version 1's list of devices allows, ``filters`` how many
    filters of system calls there are at least."""

    jailed: bool
    program: str
    uid: int | None
    groups: tuple[int, ...]
    visible: tuple[str, ...]
    devices: tuple[str, ...]
    handed: tuple[PlannedFile, ...]
    directory: str
    private_network: bool
    memory_bytes: int
    processes: int
    open_files: int
    file_bytes: int
    core_bytes: int
    control_groups: tuple[str, ...] = ()
    device_rules: tuple[str, ...] = ()
    filters: int = 1
    weaker: tuple[str, ...] = ()
    io_uring: bool = False

    @property
    def kvm(self) -> bool:
        return "/dev/kvm" in self.devices or any(file.path == "/dev/kvm" for file in self.handed)


def planned_jail(
    plan: JailPlan,
    uid: int | None,
    control_groups: tuple[str, ...] = (),
    *,
    device_rules: tuple[str, ...] = (),
    jailed: bool = True,
    filtered: bool = True,
    tools: tuple[str, ...] = (),
    identities: Mapping[str, str] = MappingProxyType({}),
) -> Planned:
    """``filtered``: the jail has a filter of its own beside QEMU's. ``tools`` are programs shown beside QEMU.
    ``identities`` of the files that are handed over, by their paths."""
    limits = plan.limits
    return Planned(
        jailed=jailed,
        program=plan.program,
        uid=uid,
        groups=plan.groups,
        visible=(*plan.shown, *plan.copied, plan.program, *tools),
        devices=plan.devices,
        handed=tuple(
            PlannedFile(file.path, file.access, file.layer is not None, identities.get(file.path, ""))
            for file in plan.handed
        ),
        directory=plan.directory,
        private_network=plan.private_network,
        memory_bytes=limits.memory_bytes,
        processes=limits.processes,
        open_files=limits.open_files,
        file_bytes=limits.file_bytes,
        core_bytes=limits.core_bytes,
        control_groups=control_groups,
        device_rules=device_rules,
        filters=2 if filtered else 1,
        weaker=plan.weaker,
        io_uring=plan.io_uring,
    )


@dataclass(frozen=True, slots=True)
class HomeFile:
    """Something in wirt's home whose mode gives others than its owner a right. ``reachable``: every directory on
    the way lets others through; ``writable``: others may change it."""

    path: str
    mode: int
    directory: bool
    reachable: bool
    writable: bool
