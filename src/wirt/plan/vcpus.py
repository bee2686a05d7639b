"""Which vCPUs a guest is to bring online and take offline: pure.

A vCPU that was plugged in stays in its QEMU until that ends: QEMU 7.2 damages its own memory when one is taken
out, QEMU 10 ends after some. So a guest that is to have fewer leaves some unused, the last ones first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wirt.model.errors import IllegalState
from wirt.model.vcpus import GuestVcpu


@dataclass(frozen=True, slots=True)
class Switch:
    """``changes``: vCPUs by their number in the guest, and whether they are to be online. ``missing``: so many the
    guest does not know of yet."""

    changes: tuple[tuple[int, bool], ...]
    missing: int

    @property
    def done(self) -> bool:
        return not self.changes and not self.missing


def switch(name: str, vcpus: Sequence[GuestVcpu], count: int) -> Switch:
    """The first ``count`` of ``vcpus`` online, by their numbers, and no other. ``IllegalState`` if the guest
    ``name`` can't take one of the others offline."""
    ordered = sorted(vcpus, key=lambda vcpu: vcpu.number)
    changes = []
    for place, vcpu in enumerate(ordered):
        wanted = place < count
        if vcpu.online != wanted:
            if vcpu.fixed:
                raise IllegalState(
                    f"the guest {name} keeps its vCPU {vcpu.number} online, whatever it is told",
                    hint=f"at least {place + 1} stay; less at once: wirt sched-credit -d {name} -c CAP",
                )
            changes.append((vcpu.number, wanted))
    return Switch(tuple(changes), max(0, count - len(ordered)))
