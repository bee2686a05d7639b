"""What a guest's memory is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wirt.model.units import KIB

OLD_PADDING_KIB = 8
"""What every run had before it was written down."""
PLUG_MIB = 128
"""A guest plugs memory in by such blocks at least (Linux, Documentation/admin-guide/mm/memory-hotplug.rst, "memory
blocks"), so a region that is no multiple of them has a part that nobody can use."""
PLUG_STEP_MIB = 2
"""In which QEMU plugs it in on x86: a transparent huge page."""


def plugged_for(more_mib: int) -> int:
    """What is plugged in so that a guest can have so much more, in MiB: whole steps."""
    return -(-max(0, more_mib) // PLUG_STEP_MIB) * PLUG_STEP_MIB


@dataclass(frozen=True, slots=True)
class GivenMemory:
    """What is settled when a guest begins, and stays so wherever it goes on.

    ``mib`` is how large its memory is, whatever its configuration says by now; ``None``: an older wirt began it,
    which did not write that down. ``padding_kib`` is what it has beyond that
    (:data:`wirt.plan.launch.PADDING_KIB`). ``reporting``: its balloon device takes reports of free pages, which
    its driver has seen and goes by. ``hotplug_mib``: what can be plugged in beyond ``mib``, and may have been.
    """

    mib: int | None = None
    padding_kib: int = OLD_PADDING_KIB
    reporting: bool = False
    hotplug_mib: int = 0


class HugePages(StrEnum):
    """``hugepages=``: the pages that a guest's memory lies in. ``OFF``: ordinary ones, which the kernel may join
    by itself; ``TRANSPARENT``: so, and a host that never joins any is refused; the others are reserved ones, which
    are the guest's for good."""

    OFF = "off"
    TRANSPARENT = "transparent"
    TWO_MIB = "2M"
    ONE_GIB = "1G"

    @property
    def kib(self) -> int | None:
        """The size of a reserved page."""
        return {HugePages.TWO_MIB: 2 * KIB, HugePages.ONE_GIB: KIB * KIB}.get(self)


@dataclass(frozen=True, slots=True)
class HugePool:
    """The pages of one size that a host has set aside. ``free`` are those that nobody has, of which ``promised``
    belong to someone who has not touched them yet (Linux, Documentation/admin-guide/mm/hugetlbpage.rst)."""

    kib: int
    total: int
    free: int
    promised: int = 0

    @property
    def left(self) -> int:
        return max(0, self.free - self.promised)


@dataclass(frozen=True, slots=True)
class HugeMemory:
    """``transparent`` is ``always``, ``madvise`` or ``never``; ``None`` where the kernel has no such pages."""

    transparent: str | None = None
    pools: tuple[HugePool, ...] = ()

    def pool(self, kib: int) -> HugePool | None:
        return next((pool for pool in self.pools if pool.kib == kib), None)

    @property
    def reserved_bytes(self) -> int:
        """What of the host's memory is set aside, used or not."""
        return sum(pool.total * pool.kib * KIB for pool in self.pools)


TAKEN = HugeMemory(
    "always", tuple(HugePool(size.kib, 1 << 40, 1 << 40) for size in HugePages if size.kib is not None)
)
"""For a guest that has its pages already: whatever has become of the host's meanwhile, it needs no more."""


@dataclass(frozen=True, slots=True)
class Merging:
    """What KSM does on a host: ``shared`` pages stand for ``sharing`` more that were like them (Linux,
    Documentation/admin-guide/mm/ksm.rst). ``scan`` pages are looked at, then it sleeps for ``sleep_ms``."""

    on: bool
    shared: int
    sharing: int
    scan: int
    sleep_ms: int
    page_bytes: int = 4 * KIB
