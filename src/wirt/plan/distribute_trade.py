"""Two vCPUs change places, each of which is better off where the other is, while no CPU is free for either: as
when two guests run on each other's node, or one that does not care sits where another's memory is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from wirt.plan.distribute_load import Move
from wirt.plan.distribute_seats import MEMORY, SOFT, Seats

LEAST_LOSS = 0.05
"""What a vCPU loses by being where it is, in CPUs, for others to be asked."""
LEAST_GAIN = 0.12
"""What a trade wins, in CPUs: two moves, mostly across nodes."""
MOST_ASKING, MOST_ASKED = 100, 12
"""Those who lose most, and how many each asks."""


def trades(seats: Seats, most: int, still: set[int]) -> list[Move]:
    """``most`` moves; those of ``still`` stay, and those who were moved are put there."""
    moves: list[Move] = []
    losing = sorted(
        (-_loss(seats, vcpu), vcpu) for vcpu in range(len(seats.guest)) if vcpu not in still and _loss(seats, vcpu)
    )
    asking = [vcpu for loss, vcpu in losing if -loss >= LEAST_LOSS][:MOST_ASKING]
    if not asking:
        return moves
    open_to = _open(seats, asking, still)
    for vcpu in asking:
        if vcpu in still or len(moves) + 2 > most:
            continue
        asked = list(_asked(seats, vcpu, open_to, still))
        best = max(((_gain(seats, vcpu, other), -other) for other in asked), default=None)
        if best is not None and best[0] >= LEAST_GAIN:
            moves += _trade(seats, vcpu, -best[1], best[0])
            still.update((vcpu, -best[1]))
    return moves


def _loss(seats: Seats, vcpu: int) -> float:
    """By distance from its memory, and by not being where it would rather be."""
    at, soft = seats.at[vcpu], seats.soft[vcpu]
    if at is None:
        return 0.0
    far = seats.far[seats.guest[vcpu]]
    loss = MEMORY * (far[seats.cpus[at].node] - min(far.values())) if far else 0.0
    return seats.entitled[vcpu] * (loss + (SOFT if soft and at not in soft else 0.0))


def _open(seats: Seats, asking: Sequence[int], still: set[int]) -> Mapping[int, list[int]]:
    """Who may be asked, by the node where he is: those who ask themselves, then those who don't care."""
    found: dict[int, list[int]] = {}
    careless = [
        vcpu
        for vcpu in range(len(seats.guest))
        if vcpu not in still and seats.soft[vcpu] is None and not any(seats.far[seats.guest[vcpu]].values())
    ]
    for vcpu in dict.fromkeys((*asking, *careless)):
        at = seats.at[vcpu]
        if at is not None:
            found.setdefault(seats.cpus[at].node, []).append(vcpu)
    return found


def _asked(seats: Seats, vcpu: int, open_to: Mapping[int, list[int]], still: set[int]) -> Iterator[int]:
    """Those on the nodes that ``vcpu`` would rather be on, who may change places with it."""
    soft, far, at = seats.soft[vcpu], seats.far[seats.guest[vcpu]], seats.at[vcpu]
    nodes = {seats.cpus[cpu].node for cpu in soft} if soft else {min(far, key=far.__getitem__)} if far else set()
    count = 0
    for node in sorted(nodes):
        for other in open_to.get(node, ()):
            there = seats.at[other]
            if other in still or other == vcpu or (soft and there not in soft):
                continue
            if there not in seats.allowed[vcpu] or at not in seats.allowed[other]:
                continue
            count += 1
            if count > MOST_ASKED:
                return
            yield other


def _gain(seats: Seats, one: int, other: int) -> float:
    """By how much a trade makes the whole cheaper: it is tried, and taken back."""
    here, there = _swap(seats, one, other)
    _swap(seats, one, other)
    return here - there


def _swap(seats: Seats, one: int, other: int) -> tuple[float, float]:
    """What the two cost before and after."""
    at, there = seats.at[one], seats.at[other]
    assert at is not None and there is not None
    before = seats.cost(one, at)
    seats.take(one)
    before += seats.cost(other, there)
    seats.take(other)
    after = seats.cost(one, there)
    seats.put(one, there)
    after += seats.cost(other, at)
    seats.put(other, at)
    return before, after


def _trade(seats: Seats, one: int, other: int, gain: float) -> Iterator[Move]:
    at, there = seats.at[one], seats.at[other]
    assert at is not None and there is not None
    _swap(seats, one, other)
    names = [f"{seats.load.guests[seats.guest[vcpu]].name}'s vCPU {seats.number[vcpu]}" for vcpu in (one, other)]
    for vcpu, source, whom in ((one, at, names[1]), (other, there, names[0])):
        reason = f"it changes places with {whom}: of the two, more is near its memory or where it would rather be"
        yield seats.move(vcpu, seats.cpus[source].id, gain / 2, reason)
