"""Guests over processors: which vCPU should move to which CPU, and why. Pure, and quick enough for each second.

The scheduler below (Linux's) runs each CPU; this says who is on which, as the load balancers of hypervisors do:
Xen's credit2 weighs whole run queues and moves what evens them out, with a penalty for what is far
(xen/common/sched/credit2.c, "balance_load"; Xen wiki, "Credit2 Scheduler"); credit looks for idle cores before
idle threads (xen/common/sched/credit.c, "_csched_cpu_pick"). Linux's domains of balancing are in
Documentation/scheduler/sched-domains.rst; what goes wrong without work conservation in Lozi et al., "The Linux
Scheduler: a Decade of Wasted Cores", EuroSys 2016. Longest first for a first placement is Graham's rule ("Bounds
on Multiprocessing Timing Anomalies", 1969).

Four passes, from what is: whoever can't stay where he is, sits down; whoever would be better off elsewhere by more
than a move costs, goes there; pairs change places who are both on the wrong node; and pairs where only that brings
shares nearer to what is due.
Each move makes one sum smaller (:mod:`wirt.plan.distribute_seats`), so that there is an end, and with loads that
stay the next plan moves less, until none is left to pay. Who was moved lately stays.

What it can't do: share three busy vCPUs evenly over two CPUs. That takes a scheduler that moves them to and fro
many times a second. ``Standing.short`` says how far off they are; :func:`reach` is what to leave them.
"""

from __future__ import annotations

from wirt.plan.distribute_exchange import exchanges
from wirt.plan.distribute_load import (
    LONG_AGO,
    POOL_0,
    Distribution,
    Guest,
    Impossible,
    Load,
    Move,
    Standing,
    Vcpu,
)
from wirt.plan.distribute_seats import LEAST, Seats
from wirt.plan.distribute_trade import trades
from wirt.plan.distribute_words import why_forced, why_impossible, why_moved

__all__ = [
    "LONG_AGO",
    "POOL_0",
    "Distribution",
    "Guest",
    "Impossible",
    "Load",
    "Move",
    "Standing",
    "Vcpu",
    "distribute",
    "reach",
]

REST = 5
"""Periods that a vCPU stays after a move, whatever happens, if it can."""
LEAST_GAIN = 0.03
"""For which a vCPU is moved, in CPUs."""
NEW_CACHE, NEW_NODE = 0.01, 0.03
"""What a move costs beyond that: what was near is far, once."""
LEAST_MOVES, PART_OF_MOVES = 8, 8
"""So many moves a plan, or one of so many vCPUs: those that must be don't count."""


def distribute(load: Load, most_moves: int | None = None) -> Distribution:
    """``most_moves``: of those that need not be."""
    seats = Seats(load)
    count = len(seats.guest)
    before = seats.standing()
    placed = {vcpu for vcpu, at in enumerate(seats.at) if at is None}
    moves, impossible = _seat(seats)
    left = max(LEAST_MOVES, count // PART_OF_MOVES) if most_moves is None else most_moves
    still = {vcpu for vcpu in range(count) if vcpu in placed or _rested(seats, vcpu) < REST}
    for find in (_better, trades, exchanges):
        found = find(seats, left, still)
        left -= len(found)
        moves += found
    entitled = {
        (load.guests[seats.guest[vcpu]].name, seats.number[vcpu]): seats.due[vcpu] for vcpu in range(count)
    }
    return Distribution(tuple(moves), tuple(impossible), before, seats.standing(), entitled)


def reach(load: Load, guest: Guest, vcpu: Vcpu, target: int) -> frozenset[int]:
    """The CPUs at the cache of ``target`` that ``vcpu`` may run on: where the kernel's scheduler may have it as it
    likes, many times a second, and this planner looks after the rest."""
    caches = {cpu.id: cpu.cache for cpu in load.topology.cpus}
    may = load.may(vcpu.hard, guest.pool)
    soft = may & vcpu.soft if vcpu.soft is not None and target in vcpu.soft else may
    return frozenset(cpu for cpu in soft if caches[cpu] == caches[target])


def _rested(seats: Seats, vcpu: int) -> int:
    return seats.load.guests[seats.guest[vcpu]].vcpus[seats.number[vcpu]].rested


def _seat(seats: Seats) -> tuple[list[Move], list[Impossible]]:
    """Who has no CPU gets one, those with most to do first."""
    moves, impossible = [], []
    standing = sorted(
        (vcpu for vcpu, at in enumerate(seats.at) if at is None), key=lambda vcpu: -seats.entitled[vcpu]
    )
    for vcpu in standing:
        if not seats.allowed[vcpu]:
            impossible.append(why_impossible(seats, vcpu))
            continue
        cost, at = min((seats.cost(vcpu, at), at) for at in seats.candidates(vcpu))
        source, why = why_forced(seats, vcpu)
        seats.put(vcpu, at)
        reason = f"{why}, and CPU {seats.cpus[at].id} suits it best of those that it may run on"
        moves.append(seats.move(vcpu, source, -cost, reason, forced=True))
    return moves, impossible


def _better(seats: Seats, most: int, still: set[int]) -> list[Move]:
    """From the fullest CPUs on: the vCPU that wins most by going elsewhere, as long as it pays."""
    moves: list[Move] = []
    for at in sorted(range(len(seats.cpus)), key=lambda at: (-seats.pressure[at], at)):
        while len(moves) < most:
            best = _best_of(seats, at, still)
            if best is None:
                break
            gain, vcpu, target = best
            reason = why_moved(seats, vcpu, target)
            seats.take(vcpu)
            seats.put(vcpu, target)
            still.add(vcpu)
            moves.append(seats.move(vcpu, seats.cpus[at].id, gain, reason))
    return moves


def _best_of(seats: Seats, at: int, still: set[int]) -> tuple[float, int, int] | None:
    best: tuple[float, int, int] | None = None
    for vcpu in seats.on[at]:
        if vcpu in still or seats.entitled[vcpu] <= LEAST:
            continue
        here = seats.cost(vcpu, at)
        if here < LEAST_GAIN:
            continue
        for target in seats.candidates(vcpu):
            if target == at:
                continue
            gain = here - seats.cost(vcpu, target) - _price(seats, at, target)
            if gain >= LEAST_GAIN and (best is None or gain > best[0]):
                best = (gain, vcpu, target)
    return best


def _price(seats: Seats, source: int, target: int) -> float:
    one, other = seats.cpus[source], seats.cpus[target]
    if one.node != other.node:
        return NEW_NODE
    return NEW_CACHE if one.cache != other.cache else 0.0
