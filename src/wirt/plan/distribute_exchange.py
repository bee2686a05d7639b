"""Where no single move pays any more, vCPUs of two CPUs change places, so that on both about as much is due as a
CPU has: then everybody gets what he is entitled to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import combinations

from wirt.plan.distribute_load import Move
from wirt.plan.distribute_seats import Seats

UNEVEN = 0.015
"""By which what is due on two CPUs differs at least, in CPUs; half of it is what each move has to even out."""
LEAST_BUSY, SPREAD = 3, 5
"""CPUs with which one tries to change places: those with most time left, and some of all that have any."""
MOST_TRIES = 400
"""Pairs of CPUs in one plan: a plan must come in time, and the next one goes on."""
MOST_DEARER = 0.02
"""By which an exchange may make the whole dearer: less than what a single move has to win, or that would take the
exchange back, and so on for ever."""
MOST_ON_ONE = 12
"""vCPUs of one CPU, the busiest, that are thought of."""

Group = tuple[float, tuple[int, ...]]
"""What is entitled to some of the vCPUs of a CPU together, and which they are: none, one or two."""


def exchanges(seats: Seats, most: int, still: set[int]) -> list[Move]:
    """``most`` moves; those of ``still`` stay, and those who were moved are put there."""
    moves: list[Move] = []
    tries = MOST_TRIES
    order = sorted(range(len(seats.cpus)), key=lambda at: (seats.entitled_on[at], at))
    free = [at for at in order if seats.entitled_on[at] < 1]
    for high in reversed(order):
        if seats.entitled_on[high] <= 1 + UNEVEN / 2 or not tries:
            break
        movable = _movable(seats, high, still)
        for low in _partners(seats, free, high, movable):
            tries = max(0, tries - 1)
            pair = _pair(seats, high, low, movable, still)
            if pair is not None and len(moves) + sum(map(len, pair)) <= most:
                moves += _exchange(seats, high, low, pair)
                still.update(*pair)
                break
    return moves


def _movable(seats: Seats, at: int, still: set[int]) -> list[int]:
    found = [vcpu for vcpu in seats.on[at] if vcpu not in still]
    return sorted(found, key=lambda vcpu: (-seats.entitled[vcpu], vcpu))[:MOST_ON_ONE]


def _partners(seats: Seats, free: Sequence[int], high: int, movable: Sequence[int]) -> Iterator[int]:
    """Where the first of ``movable`` may go, since pools and pins are mostly the same for all of a CPU."""
    if not movable:
        return
    allowed = seats.allowed[movable[0]]
    open_to = [at for at in free if at in allowed]
    yield from sorted(open_to[: 4 * LEAST_BUSY], key=lambda at: (seats.entitled_on[at], at))[:LEAST_BUSY]
    step = max(1, len(open_to) // SPREAD)
    yield from open_to[high % step :: step][:SPREAD]


def _pair(
    seats: Seats, high: int, low: int, movable: Sequence[int], still: set[int]
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Who goes from ``high`` to ``low``, and who the other way: those whose exchange leaves the least of the gap,
    if each of the moves evens out enough of it and the whole gets hardly dearer by it."""
    gap = seats.entitled_on[high] - seats.entitled_on[low]
    if gap < UNEVEN:
        return None
    down = _groups(seats, [vcpu for vcpu in movable if low in seats.allowed[vcpu]])
    back = _groups(seats, [vcpu for vcpu in _movable(seats, low, still) if high in seats.allowed[vcpu]])
    sums = [total for total, _ in back]
    found: list[tuple[float, tuple[int, ...], tuple[int, ...]]] = []
    for total, going in down:
        place = bisect_left(sums, total - gap / 2)
        for weight, coming in back[max(0, place - 1) : place + 1]:
            left, count = abs(gap - 2 * (total - weight)), len(going) + len(coming)
            if gap - left >= UNEVEN / 2 * max(2, count):
                found.append((left + UNEVEN / 4 * count, going, coming))
    for _, going, coming in sorted(found)[:3]:
        if _pays(seats, going, coming, high, low):
            return going, coming
    return None


def _groups(seats: Seats, vcpus: Sequence[int]) -> list[Group]:
    """By what is entitled to them, the lightest first."""
    groups: list[Group] = [(0.0, ())]
    groups += [(seats.entitled[vcpu], (vcpu,)) for vcpu in vcpus]
    groups += [
        (seats.entitled[one] + seats.entitled[other], (one, other)) for one, other in combinations(vcpus, 2)
    ]
    return sorted(groups)


def _pays(seats: Seats, going: Sequence[int], coming: Sequence[int], high: int, low: int) -> bool:
    """Whether the whole is hardly dearer then. It is tried, and taken back."""
    here, there = _swap(seats, going, coming, high, low)
    _swap(seats, coming, going, high, low)
    return there < here + MOST_DEARER


def _swap(seats: Seats, going: Sequence[int], coming: Sequence[int], high: int, low: int) -> tuple[float, float]:
    """What they cost before and after."""
    before = after = 0.0
    for vcpus, at in ((going, high), (coming, low)):
        for vcpu in vcpus:
            before += seats.cost(vcpu, at)
            seats.take(vcpu)
    for vcpus, at in ((going, low), (coming, high)):
        for vcpu in vcpus:
            after += seats.cost(vcpu, at)
            seats.put(vcpu, at)
    return before, after


def _exchange(seats: Seats, high: int, low: int, pair: tuple[tuple[int, ...], tuple[int, ...]]) -> Iterator[Move]:
    going, coming = pair
    one, other = seats.cpus[high].id, seats.cpus[low].id
    more, less = seats.entitled_on[high], seats.entitled_on[low]
    _swap(seats, going, coming, high, low)
    after = max(seats.entitled_on[high], seats.entitled_on[low])
    gain = (more - max(1.0, after)) / len((*going, *coming))
    reason = (
        f"on CPU {one} {more:.0%} of its time are due and on CPU {other} {less:.0%}; with those who change places "
        f"{seats.entitled_on[high]:.0%} and {seats.entitled_on[low]:.0%}"
    )
    for vcpu in going:
        yield seats.move(vcpu, one, gain, reason)
    for vcpu in coming:
        yield seats.move(vcpu, other, gain, reason)
