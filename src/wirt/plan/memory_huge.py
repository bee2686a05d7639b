"""Who has the huge pages of a host: sums of their own, for nobody else can have that memory. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wirt.model.memory import HugeMemory, HugePages
from wirt.model.units import KIB
from wirt.plan.memory import Proof, Term


def plan_huge(huge: HugeMemory, guests: Mapping[str, tuple[HugePages | None, int]]) -> Iterator[Proof]:
    """One for each size of which the host has some, or a guest has. ``guests``: the pages of each, and MiB."""
    for size in HugePages:
        if size.kib is None:
            continue
        pool = huge.pool(size.kib)
        total = pool.total * size.kib // KIB if pool is not None else 0
        ours = {name: mib for name, (pages, mib) in guests.items() if pages is size}
        if not total and not ours:
            continue
        terms = [Term(name, mib, "in huge pages, for good") for name, mib in ours.items()]
        taken = total - (pool.left * size.kib // KIB if pool is not None else 0)
        others = taken - sum(ours.values())
        if others > 0:
            terms.append(Term("others", others, "what no guest of this wirt has"))
        yield Proof(f"huge pages of {size}, apart from all else", tuple(terms), total)
