"""What each vCPU is entitled to: weighted fair shares by filling up, as water does.

Everybody's share rises with his weight until he has what he asks for or the CPUs are full: weighted max-min
fairness (Bertsekas and Gallager, "Data Networks", 6.5.2), which is what Xen's credit scheduler approaches by its
accounts (Xen wiki, "Credit Scheduler": weight and cap). Who may run on some CPUs only competes for those first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

NOTHING = 1e-6
"""CPUs. Who asks for less asks for nothing: a load that fades out by halves never ends by itself."""
MOST_SETS = 48
"""Of CPUs, beside single ones, in which shares are filled up separately: each costs a pass."""


@dataclass(slots=True)
class Claim:
    """Of the vCPUs of one guest that may run on the same CPUs. ``share`` is what they get together, in CPUs."""

    weight: float
    demand: float
    cpus: frozenset[int]
    share: float = 0.0


def fill(wishes: Sequence[tuple[float, float]], capacity: float) -> list[float]:
    """The shares of ``(weight, demand)``, which use up ``capacity`` or serve every demand."""
    shares = [0.0] * len(wishes)
    left = max(0.0, capacity)
    asking = [place for place, (_, demand) in enumerate(wishes) if demand > NOTHING]
    asking.sort(key=lambda place: wishes[place][1] / wishes[place][0])
    # With all who come later; summed from the end, since taking off one after the other leaves no small one.
    weights = list(accumulate(wishes[place][0] for place in reversed(asking)))
    for place in asking:
        weight, demand = wishes[place]
        # Who asks for the least of his weight is served first, and leaves the rest to those who want more.
        shares[place] = min(demand, left * weight / weights.pop())
        left -= shares[place]
    return shares


def settle(claims: Sequence[Claim], capacity: Mapping[int, float], pools: Iterable[frozenset[int]]) -> None:
    """Sets the ``share`` of each. ``capacity`` is what each CPU has for guests.

    Smaller sets of CPUs are filled first, and what comes of it bounds what is asked for in larger ones: exact
    where sets lie within one another (pins, nodes, pools); where they overlap otherwise, a good guess."""
    for claim in claims:
        claim.share = claim.demand
    for cpus, members in _sets(claims, pools):
        room = sum(capacity[cpu] for cpu in cpus)
        if sum(claim.share for claim in members) <= room:
            continue
        shares = fill([(claim.weight, claim.share) for claim in members], room)
        for claim, share in zip(members, shares, strict=True):
            claim.share = share


def _sets(
    claims: Sequence[Claim], pools: Iterable[frozenset[int]]
) -> Iterable[tuple[frozenset[int], list[Claim]]]:
    """Each set of CPUs, small ones first, with those who may run nowhere but in it."""
    by_set: dict[frozenset[int], list[Claim]] = {cpus: [] for cpus in pools if cpus}
    for claim in claims:
        by_set.setdefault(claim.cpus, []).append(claim)
    order = sorted(by_set, key=lambda cpus: (len(cpus), min(cpus)))
    wide = [cpus for cpus in order if len(cpus) > 1][-MOST_SETS:]
    several = set(wide)
    for cpus in order:
        members = by_set[cpus]
        if cpus in several:
            members = [claim for other in order if other <= cpus for claim in by_set[other]]
        if members:
            yield cpus, members
