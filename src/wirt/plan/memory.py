"""How much memory each guest should have now, between its guarantee and its most: pure.

Balloons take memory from guests that don't need it and give it to those that do, as Waldspurger describes for ESX
("Memory Resource Management in VMware ESX Server", OSDI 2002: what a guest does not use is taken first). Nothing
here is a bet: in whatever order a plan is carried out, at every moment what guests hold, what is guaranteed to
them and not yet theirs, and what belongs to the host fit into the machine, and the plan has that sum as its proof.
So a guest grows only into what is free now; what another is asked to give is handed out by the next plan, once it
came. A guest can let go of its balloon by itself: whoever carries a plan out holds it to its target
(``memory.max``). All sizes are in MiB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HEADROOM = 1.25
"""Of what a guest uses, that it should have: for caches, and for what comes before the next look."""
LEAST_HEADROOM_MIB = 64
PRESSED = 0.1
"""Part of the time in which tasks wait for memory, from which on a guest needs more, whatever it says it uses
(Linux, Documentation/accounting/psi.rst, "some")."""
RELIEF = 1.25
"""What a guest under pressure gets, of what it has."""
LEAST_CHANGE_MIB, LEAST_CHANGE = 16, 0.05
"""Below which a balloon is left alone: so many MiB, or such a part of what the guest has."""


@dataclass(frozen=True, slots=True)
class GuestMemory:
    """``has`` is what it holds now, at most ``most`` (``maxmem``). ``guaranteed`` is what is never taken from it
    nor lent to others; ``overhead`` what its QEMU takes beside. ``used`` and ``pressure`` are what the guest
    tells, if it does; ``wished`` is ``memory`` of its configuration, for one that tells nothing. ``balloon``: it
    has the driver."""

    name: str
    has: int
    most: int
    guaranteed: int
    wished: int
    overhead: int = 0
    used: int | None = None
    pressure: float = 0.0
    balloon: bool = True


@dataclass(frozen=True, slots=True)
class HostMemory:
    """``reserve`` is Domain-0's. ``available`` is what could be taken now without swapping, as the kernel says."""

    total: int
    reserve: int
    available: int


@dataclass(frozen=True, slots=True)
class Term:
    """One of a sum: whose, how much, and what it is made of."""

    whose: str
    mib: int
    why: str


@dataclass(frozen=True, slots=True)
class Proof:
    """That a sum fits into the host; ``what`` says which."""

    what: str
    terms: tuple[Term, ...]
    total: int

    @property
    def sum(self) -> int:
        return sum(term.mib for term in self.terms)

    @property
    def holds(self) -> bool:
        return self.sum <= self.total

    @property
    def text(self) -> str:
        """``web 1088 + Domain-0 512 = 1600 <= 4096 MiB``."""
        terms = " + ".join(f"{term.whose} {term.mib}" for term in self.terms) or "nothing"
        return f"{terms} = {self.sum} {'<=' if self.holds else '>'} {self.total} MiB"


@dataclass(frozen=True, slots=True)
class Target:
    """``wants`` is what the guest would have if there were enough."""

    guest: str
    has: int
    target: int
    wants: int
    reason: str

    @property
    def changes(self) -> bool:
        return self.target != self.has


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """``claims``: everybody can have his guarantee at once. ``holds``: all that is held while the plan is carried
    out, and all guarantees that are claimed meanwhile, fit. ``remarks`` say what is amiss, one sentence each."""

    targets: tuple[Target, ...]
    claims: Proof
    holds: Proof
    remarks: tuple[str, ...]


def plan_memory(host: HostMemory, guests: Sequence[GuestMemory]) -> MemoryPlan:
    """Where ``claims`` does not hold, more is guaranteed than there is: nobody is given more than his guarantee
    then, and whoever has more gives it back."""
    wants = {guest.name: _wants(guest) for guest in guests}
    room = host.total - host.reserve - sum(guest.overhead for guest in guests)
    goals = _goals(guests, wants, room)
    targets = _changes(guests, goals, room, host.available)
    floors = {guest.name: _floor(guest) for guest in guests}
    claims = _proof(
        "all guarantees at once", host, guests, floors, {guest.name: _claimed(guest) for guest in guests}
    )
    holds = _proof(
        "all that is held or can be claimed until the next plan",
        host,
        guests,
        {guest.name: max(guest.has, targets[guest.name], floors[guest.name]) for guest in guests},
        {guest.name: _held(guest, targets[guest.name]) for guest in guests},
    )
    rows = tuple(
        Target(guest.name, guest.has, targets[guest.name], wants[guest.name], _reason(guest, wants, targets))
        for guest in guests
    )
    return MemoryPlan(rows, claims, holds, tuple(_remarks(guests, claims, holds)))


def _claimed(guest: GuestMemory) -> str:
    return "guaranteed" if guest.balloon else "held for good, without a balloon"


def _held(guest: GuestMemory, target: int) -> str:
    if max(guest.has, target) < _floor(guest):
        return "guaranteed, and set aside"
    return "to grow to" if target > guest.has else "held" if target == guest.has else "held until it gives"


def _wants(guest: GuestMemory) -> int:
    if not guest.balloon:
        return guest.has
    if guest.used is None:
        wants = guest.wished
    else:
        wants = max(round(guest.used * HEADROOM), guest.used + LEAST_HEADROOM_MIB)
    if guest.pressure >= PRESSED:
        wants = max(wants, round(guest.has * RELIEF))
    return _within(guest, wants)


def _within(guest: GuestMemory, mib: int) -> int:
    return max(_floor(guest), min(guest.most, mib))


def _floor(guest: GuestMemory) -> int:
    """What it has for certain. Without a balloon nothing can be taken nor given."""
    return min(guest.guaranteed, guest.most) if guest.balloon else guest.has


def _goals(guests: Sequence[GuestMemory], wants: Mapping[str, int], room: int) -> Mapping[str, int]:
    """Where each is to end up. As long as there is room nobody gives; then those who have more than they want give
    alike; then all are between guarantee and wish by the same part."""
    moving = [guest for guest in guests if guest.balloon]
    room -= sum(guest.has for guest in guests if not guest.balloon)
    floors = {guest.name: _floor(guest) for guest in moving}
    wishes = {guest.name: wants[guest.name] for guest in moving}
    keeps = {guest.name: _within(guest, max(guest.has, wants[guest.name])) for guest in moving}
    goals = {guest.name: guest.has for guest in guests}
    for low, high in ((wishes, keeps), (floors, wishes)):
        span = sum(high.values()) - sum(low.values())
        if sum(low.values()) <= room:
            part = min(1.0, (room - sum(low.values())) / span) if span else 1.0
            return goals | {name: low[name] + int(part * (high[name] - low[name])) for name in low}
    return goals | floors


def _changes(
    guests: Sequence[GuestMemory], goals: Mapping[str, int], room: int, available: int
) -> Mapping[str, int]:
    """What of the goals is asked for now: shrinking all of it, growing only into what is free, and neither for a
    trifle, unless it has to be."""
    short = sum(max(guest.has, _floor(guest)) for guest in guests) > room
    now = {
        guest.name: goals[guest.name]
        if goals[guest.name] < guest.has and (short or not _trifle(guest, goals[guest.name]))
        else guest.has
        for guest in guests
    }
    growing = [
        guest
        for guest in guests
        if goals[guest.name] > guest.has and (guest.has < _floor(guest) or not _trifle(guest, goals[guest.name]))
    ]
    # Whoever is below his guarantee comes first; the rest share what is left by what they lack.
    free = max(0, min(room - sum(now.values()) - _shrinking(guests, now), available))
    free -= _grow(now, growing, {guest.name: _floor(guest) for guest in growing}, free)
    aside = sum(max(0, _floor(guest) - now[guest.name]) for guest in guests)
    _grow(now, growing, goals, max(0, free - aside))
    return now


def _shrinking(guests: Sequence[GuestMemory], now: Mapping[str, int]) -> int:
    """What is held until it has been given."""
    return sum(max(0, guest.has - now[guest.name]) for guest in guests)


def _grow(now: dict[str, int], growing: Sequence[GuestMemory], to: Mapping[str, int], free: int) -> int:
    """All by the same part of what they lack; how much that was."""
    lacks = {guest.name: max(0, to[guest.name] - now[guest.name]) for guest in growing}
    part = min(1.0, free / sum(lacks.values())) if any(lacks.values()) else 0.0
    for name, lack in lacks.items():
        now[name] += int(part * lack)
    return sum(int(part * lack) for lack in lacks.values())


def _trifle(guest: GuestMemory, goal: int) -> bool:
    return abs(goal - guest.has) < max(LEAST_CHANGE_MIB, LEAST_CHANGE * guest.has)


def _proof(
    what: str,
    host: HostMemory,
    guests: Sequence[GuestMemory],
    holds: Mapping[str, int],
    why: Mapping[str, str],
) -> Proof:
    terms = [
        Term(
            guest.name,
            holds[guest.name] + guest.overhead,
            f"{holds[guest.name]} {why[guest.name]}, and {guest.overhead} for its QEMU",
        )
        for guest in guests
    ]
    return Proof(what, (Term("Domain-0", host.reserve, "kept for the host"), *terms), host.total)


def _reason(guest: GuestMemory, wants: Mapping[str, int], targets: Mapping[str, int]) -> str:
    wanted, target = wants[guest.name], targets[guest.name]
    if not guest.balloon:
        return "it has no balloon driver, and stays as it is"
    if guest.pressure >= PRESSED:
        needs = f"its tasks wait for memory {guest.pressure:.0%} of the time"
    elif guest.used is None:
        needs = f"it does not tell what it uses, and is to have {guest.wished}"
    else:
        needs = f"it uses {guest.used}"
    if target > guest.has:
        return needs if target >= wanted else f"{needs}; {wanted - target} more when others have given them"
    if target < guest.has:
        return f"{needs}, and the host needs what is over"
    return f"{needs}; there is no more for now" if target < wanted - LEAST_CHANGE_MIB else needs


def _remarks(guests: Sequence[GuestMemory], claims: Proof, holds: Proof) -> list[str]:
    remarks = []
    if not claims.holds:
        remarks.append(
            f"more is guaranteed than there is: {claims.text}; stop a guest, move it away, or lower a guarantee"
        )
    if not holds.holds:
        remarks.append(f"guests hold more than there is, until they have given it back: {holds.text}")
    remarks += [
        f"domain {guest.name} is guaranteed {guest.guaranteed} MiB and can have {guest.most} at most"
        for guest in guests
        if guest.guaranteed > guest.most
    ]
    return remarks
