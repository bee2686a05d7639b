"""What a guest's memory is made of on its host: its pages, whether they may be merged with others, and the nodes
that they come from. Pure. None of it is the guest's to see, so that it may be otherwise wherever it goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

from wirt.model.domain import DomainConfig
from wirt.model.errors import ConfigError, Shortage
from wirt.model.memory import HugePages
from wirt.model.units import KIB, MIB
from wirt.plan.host import HostFacts

LEAST_DIRECT_BOOT_MIB = 80
"""Debian's cloud kernel with 64 MiB ends in silence (measured): so refuse by name what can't boot."""
LEAST_FIRMWARE_BOOT_MIB = 16
KEY = "hugepages"
SYSFS = "/sys/kernel/mm"


@dataclass(frozen=True, slots=True)
class Ram:
    """``page_kib`` is the size of reserved pages, ``None`` for ordinary ones. ``merge``: KSM may share them.
    ``nodes``: where they are to come from if there is room, none for wherever."""

    page_kib: int | None = None
    merge: bool = False
    nodes: tuple[int, ...] = ()


def plan_ram(config: DomainConfig, size_mib: int, padding_kib: int, host: HostFacts) -> Ram:
    """``ConfigError`` for what can't be here, ``Shortage`` where too few pages are left, with the figures."""
    wanted = config.huge_pages or HugePages.OFF
    page_kib = wanted.kib
    if page_kib is not None and config.hotplug_mib:
        raise ConfigError(
            f"{config.name} has huge pages, which are a guest's for good: none can be plugged in",
            key="hotplug_memory",
            hint="leave hotplug_memory or hugepages out",
        )
    if page_kib is not None:
        _check_reserved(config, wanted, page_kib, size_mib, padding_kib, host)
    elif wanted is HugePages.TRANSPARENT and host.huge.transparent in (None, "never"):
        raise ConfigError(
            f"{config.name} asks for transparent huge pages, and this host's kernel makes none",
            key=KEY,
            hint=f"echo madvise > {SYSFS}/transparent_hugepage/enabled (as root)",
        )
    merge = host.merging and config.mem_merge is not False and page_kib is None
    return Ram(page_kib, merge, host.memory_nodes)


def _check_reserved(
    config: DomainConfig, wanted: HugePages, page_kib: int, size_mib: int, padding_kib: int, host: HostFacts
) -> None:
    if size_mib != config.memory_mib:
        raise ConfigError(
            f"{config.name} can have {size_mib} MiB and begins with {config.memory_mib}, but huge pages are a "
            "guest's for good: no balloon gives them back",
            key=KEY,
            hint="make memory and maxmem the same, or leave hugepages out",
        )
    if size_mib * KIB % page_kib:
        raise ConfigError(
            f"{size_mib} MiB are no whole number of huge pages of {wanted}",
            key=KEY,
            hint=f"memory = {-(-size_mib * KIB // page_kib) * page_kib // KIB}",
        )
    if padding_kib:
        raise ConfigError(
            f"an emulated guest of this QEMU has {padding_kib} KiB more than it asks for, which is no huge page",
            key=KEY,
            hint="QEMU 9.0 or newer needs none of that; or leave hugepages out",
        )
    _check_left(config, wanted, page_kib, size_mib * KIB // page_kib, host)


def _check_left(config: DomainConfig, wanted: HugePages, page_kib: int, needed: int, host: HostFacts) -> None:
    pool = host.huge.pool(page_kib)
    if pool is None:
        sizes = ", ".join(size for size in HugePages if size.kib and host.huge.pool(size.kib)) or "none"
        raise ConfigError(f"this host has no huge pages of {wanted}", key=KEY, hint=f"what it can have: {sizes}")
    if needed > pool.left:
        raise Shortage(
            f"{config.name} needs {needed} huge pages of {wanted}, and {pool.left} of {pool.total} are left",
            hint=f"reserve more, as root: echo {pool.total + needed - pool.left} > "
            f"{SYSFS}/hugepages/hugepages-{page_kib}kB/nr_hugepages; most surely at boot: "
            f"hugepagesz={wanted} hugepages=N",
        )


def reports(config: DomainConfig, host: HostFacts, ram: Ram) -> bool:
    """Every QEMU that wirt runs has it (since 5.1). Not where memory is the guest's for good: a huge page that it
    gave back another could take, and it would be killed for touching it again."""
    wished = host.reporting if config.free_page_reporting is None else config.free_page_reporting
    return wished and ram.page_kib is None


def check_hotplug(in_all_mib: int, hotplug_mib: int, host: HostFacts) -> None:
    """The kernel maps no more than it has."""
    most = (host.memory_bytes - host.reserve_bytes) // MIB
    if hotplug_mib and in_all_mib > most:
        raise Shortage(
            f"with {hotplug_mib} MiB plugged in it would have {in_all_mib} MiB, and this host can give at most "
            f"{most} MiB",
            hint="lower hotplug_memory=",
        )


def check_memory(config: DomainConfig, size_mib: int, host: HostFacts, ram: Ram, *, reporting: bool) -> None:
    least = LEAST_FIRMWARE_BOOT_MIB if config.kernel is None else LEAST_DIRECT_BOOT_MIB
    if config.memory_mib < least:
        raise ConfigError(
            f"{config.memory_mib} MiB is too little to boot {config.name}",
            key="memory",
            hint=f"give it at least {least}",
        )
    if ram.page_kib is not None:
        if reporting:
            raise ConfigError(
                f"the guest {config.name} gives free pages back, and huge pages are a guest's for good",
                key=KEY,
                hint="shut it down and start it anew",
            )
        return  # its pages have been counted already, and are no part of what is free otherwise
    # Until its balloon driver is at work, a guest can have all that it ever may.
    wanted = size_mib * MIB
    lower = "memory=" if size_mib == config.memory_mib else "maxmem="
    if wanted > host.memory_bytes - host.reserve_bytes:
        most = (host.memory_bytes - host.reserve_bytes) // MIB
        raise Shortage(
            f"{config.name} asks for {size_mib} MiB and this host can give at most {most} MiB",
            hint=f"lower {lower}; {host.reserve_bytes // MIB} MiB are kept for Domain-0",
        )
    free = host.memory_available_bytes - host.reserve_bytes
    if wanted > free:
        raise Shortage(
            f"{config.name} asks for {size_mib} MiB and {max(0, free) // MIB} MiB are free",
            hint=f"shut another domain down, or lower {lower}",
        )
