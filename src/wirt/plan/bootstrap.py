"""What a bootstrap install lays down: partitions, packages, files, and how the result boots.

A guest of type pvh gets a file system over its whole disk and is entered through kernel and initramfs that lie
outside. One of type hvm gets a GUID partition table with GRUB for BIOS and for UEFI, and boots whatever kernel its
own package manager last installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Interface, IPv6Interface, NetmaskValueError, ip_address, ip_interface
from uuid import UUID, uuid5

from wirt.model.errors import BadInput
from wirt.model.units import GIB, MIB
from wirt.plan import bootstrap_files as files
from wirt.plan import bootstrap_tools as tools
from wirt.plan.bootstrap_files import File
from wirt.plan.bootstrap_tools import Source

SECTOR = 512
SMALLEST = GIB
LARGEST = 64 * 1024 * GIB
DEFAULT_SIZE = 4 * GIB
DEFAULT_MEMORY_MIB = 512
CORE_LBA = 34
ESP_LBA = 2048
ESP_SECTORS = 32 * MIB // SECTOR
ROOT_LBA = ESP_LBA + ESP_SECTORS
TAIL_SECTORS = 2048

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_PACKAGE = re.compile(r"[A-Za-z0-9@][A-Za-z0-9@+._:/~-]{0,127}")
_RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,31}")
_CONSOLE = re.compile(r"(ttyS[0-3]|hvc[0-7]|tty0)")
_MIRROR = re.compile(r"(https?|file|ftp)://[^\s\"'<>\[\]]+")
_KEY = re.compile(r"(ssh-|ecdsa-|sk-)[A-Za-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\n\r]*)?")


class Distribution(StrEnum):
    DEBIAN = "debian"
    OPENSUSE = "opensuse"
    FEDORA = "fedora"


class GuestKind(StrEnum):
    PVH = "pvh"
    HVM = "hvm"


class Addressing(StrEnum):
    DHCP = "dhcp"
    STATIC = "static"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class BootstrapWish:
    """As someone asked for it. ``size`` in bytes is the whole disk's. ``key`` is a file of the host that holds the
    keys which the packages are signed with; ``unsigned`` takes them as they are. Empty words mean the default."""

    distribution: str
    name: str
    size: int = DEFAULT_SIZE
    type: str = GuestKind.PVH
    release: str = ""
    mirror: str = ""
    key: str = ""
    unsigned: bool = False
    kernel: str = ""
    packages: tuple[str, ...] = ()
    console: str = "ttyS0"
    network: str = Addressing.DHCP
    address: str = ""
    gateway: str = ""
    dns: tuple[str, ...] = ()
    user: str = ""
    ssh_keys: tuple[str, ...] = ()
    memory_mib: int = DEFAULT_MEMORY_MIB


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the disk, in sectors of 512 bytes."""

    what: str
    first_lba: int
    sectors: int


@dataclass(frozen=True, slots=True)
class BootstrapPlan:
    """``commands`` run one after the other in the jail, where ``ROOT`` is the new system's root; ``early`` files
    are there before them, ``late`` ones after, then ``inside`` runs in the new system. ``kernel`` and ``initrd``
    are paths in it. ``slices`` is empty where the file system takes the whole disk. ``helpers``: what the
    jail gets in its work directory, by name and text."""

    wish: BootstrapWish
    program: str
    commands: tuple[tuple[str, ...], ...]
    early: tuple[File, ...]
    late: tuple[File, ...]
    removed: tuple[str, ...]
    inside: tuple[tuple[str, ...], ...]
    kernel: str
    initrd: str
    kernel_words: str
    root_uuid: UUID
    disk_id: UUID
    slices: tuple[Slice, ...] = ()
    helpers: tuple[tuple[str, str], ...] = ()

    @property
    def partitioned(self) -> bool:
        return bool(self.slices)

    @property
    def root_slice(self) -> Slice:
        if self.slices:
            return self.slices[-1]
        return Slice("root", 0, self.wish.size // SECTOR)

    def part_id(self, what: str) -> UUID:
        return uuid5(self.disk_id, what)

    @property
    def esp_volume_id(self) -> int:
        return self.part_id("volume").int & 0xFFFFFFFF


def plan_bootstrap(wish: BootstrapWish, sources: Sequence[Source], identity: UUID) -> BootstrapPlan:
    """``sources`` are the package sources of the host itself, which serve where no mirror is named. All that
    tells one install from another follows from ``identity``. ``BadInput`` says what can't be."""
    _check(wish)
    kind, distribution = GuestKind(wish.type), Distribution(wish.distribution)
    root_uuid = uuid5(identity, "root")
    words = f"root=UUID={root_uuid} ro console={wish.console}"
    recipe = tools.recipe(distribution, wish, sources, cloud_kernel=kind is GuestKind.PVH)
    slices = _slices(wish.size) if kind is GuestKind.HVM else ()
    plan = BootstrapPlan(
        wish=wish,
        program=recipe.program,
        commands=recipe.commands,
        early=recipe.early,
        late=(*files.common(wish, root_uuid), *recipe.late),
        removed=(*files.REMOVED, *recipe.removed),
        inside=(*recipe.inside, *files.inside(wish, recipe.ssh_unit)),
        kernel=recipe.kernel,
        initrd=recipe.initrd,
        kernel_words=words,
        root_uuid=root_uuid,
        disk_id=uuid5(identity, "disk"),
        slices=slices,
        helpers=recipe.helpers,
    )
    if not slices:
        return plan
    grub = files.grub_config(words, recipe.kernel, recipe.initrd, wish.console)
    return replace(plan, late=(*plan.late, File("boot/grub/grub.cfg", grub)))


def _slices(size: int) -> tuple[Slice, ...]:
    root = size // SECTOR - ROOT_LBA - TAIL_SECTORS
    return (
        Slice("grub", CORE_LBA, ESP_LBA - CORE_LBA),
        Slice("efi", ESP_LBA, ESP_SECTORS),
        Slice("root", ROOT_LBA, root),
    )


def _check(wish: BootstrapWish) -> None:
    for message, hint in _faults(wish):
        raise BadInput(message, hint=hint)


def _faults(wish: BootstrapWish) -> Iterator[tuple[str, str]]:
    yield from _choice("distribution", wish.distribution, Distribution)
    yield from _choice("guest type", wish.type, GuestKind)
    yield from _choice("network", wish.network, Addressing)
    if not _NAME.fullmatch(wish.name):
        yield f"{wish.name!r} can't be a host's name", "1 to 63 of a-z, 0-9 and -, as in --name web"
    if not SMALLEST <= wish.size <= LARGEST or wish.size % MIB:
        yield f"a system does not go on {wish.size / GIB:g} GiB", "1G to 64T in whole MiB, as in --size 4G"
    for what, word, form, hint in (
        ("release", wish.release, _RELEASE, "as in --release bookworm"),
        ("mirror", wish.mirror, _MIRROR, "an http, https, ftp or file URL"),
        ("kernel", wish.kernel, _PACKAGE, "the name of a kernel's package"),
        ("user", wish.user, _USER, "1 to 31 of a-z, 0-9, _ and -, the first a letter"),
        *(("package", package, _PACKAGE, "names as the distribution knows them") for package in wish.packages),
        *(("ssh key", key, _KEY, "a public key, as in ~/.ssh/id_ed25519.pub") for key in wish.ssh_keys),
    ):
        if word and not form.fullmatch(word):
            yield f"{word[:60]!r} is no {what}", hint
    if not _CONSOLE.fullmatch(wish.console):
        yield f"{wish.console!r} is no console", "ttyS0 to ttyS3, hvc0 to hvc7, or tty0"
    if wish.user == "root":
        yield "root is there by itself", "leave --user out: --ssh-key is then root's"
    yield from _addressing(wish)


def _choice(what: str, word: str, choices: type[StrEnum]) -> Iterator[tuple[str, str]]:
    if word not in tuple(choices):
        yield f"{word!r} is no {what} that wirt knows", "there is: " + ", ".join(choices)


def _addressing(wish: BootstrapWish) -> Iterator[tuple[str, str]]:
    if wish.network != Addressing.STATIC:
        if wish.address or wish.gateway:
            yield "an address is given, and the network is not static", "--network static"
        return
    if not wish.address:
        yield "which address? The network is static", "--address 192.0.2.10/24"
    elif _interface(wish.address) is None:
        yield f"{wish.address!r} is no address with a prefix length", "as in --address 192.0.2.10/24"
    for what, word in (("gateway", wish.gateway), *(("DNS server", each) for each in wish.dns)):
        try:
            if word:
                ip_address(word)
        except ValueError:
            yield f"{word!r} is no address of a {what}", "as in 192.0.2.1"


def _interface(text: str) -> IPv4Interface | IPv6Interface | None:
    try:
        return ip_interface(text) if "/" in text else None
    except (ValueError, AddressValueError, NetmaskValueError):
        return None
