"""How much of the host a run may take at most, while its balloon leaves the guest less than all: pure. In MiB.

A balloon is a promise of the guest's own driver, which can lie and let go. So the run's control group follows it,
in an order in which no honest guest ever meets its limit: it is raised before the guest is asked to take more, and
lowered only once the balloon has been seen to be there, and what the group holds is seen to be below. Only who
says that he has given memory, and holds it still when :data:`GRACE_S` have passed, is held to what he says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

MARGIN_MIB, MARGIN = 32, 0.02
"""More than the grant and what QEMU takes beside it: the kernel charges groups in advance for each CPU, tables of
pages grow with all memory that was ever touched (1/512 of it), and the guest goes on between a look and the
next."""
GRACE_S = 60.0
"""Huge pages of which the guest gave a part are taken apart only when the group gets short of memory, and a driver
may be away for as long as another kernel takes to start."""
AGAIN_S = 600.0
"""So long after a grace there is no other one for a driver that goes away: else it could come and go."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A run now. ``most`` it was started with; ``granted`` is what it was asked to hold last, ``actual`` what its
    driver says it holds, if that is at work (``driver``). ``beside`` is what its QEMU may take besides. ``limit``
    holds now; ``held`` is what of it could only be taken by ending the run."""

    most: int
    granted: int
    actual: int
    driver: bool
    beside: int
    limit: int
    held: int


@dataclass(frozen=True, slots=True)
class Past:
    """``settled``: it was held to a grant before. ``over_since``: it holds more than it says. ``grace_from``: when
    its driver went away, the last time that this was forgiven. Times are the host's monotonic clock's."""

    settled: bool = False
    over_since: float | None = None
    grace_from: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """``trouble``: what is wrong with the guest, in words that follow its name."""

    mib: int
    past: Past
    trouble: str | None = None


def margin(most: int) -> int:
    return max(MARGIN_MIB, round(most * MARGIN))


def limit_for(granted: int, most: int, beside: int) -> int:
    """What a run may take that was granted so much."""
    return most + beside if granted >= most else min(most, granted + margin(most)) + beside


def next_limit(seen: Seen, past: Past, now: float) -> Limit:
    full, wanted = seen.most + seen.beside, limit_for(seen.granted, seen.most, seen.beside)
    settled = past.settled or seen.limit < full
    if wanted >= full:
        return Limit(full, replace(past, settled=False, over_since=None))
    if not seen.driver:
        return _without_driver(seen, replace(past, settled=settled, over_since=None), now)
    if seen.actual > seen.granted:
        # Not there yet; or it was, and let go by itself, which wins it nothing.
        trouble = f"says that it holds {seen.actual} MiB of the {seen.granted} that it was granted"
        kept = replace(past, settled=settled, over_since=None)
        return Limit(max(seen.limit, wanted), kept, trouble if settled else None)
    return _given(seen, replace(past, settled=True), wanted, now)


def at_rest(limit: int, wanted: int, held: int, most: int, past: Past) -> bool:
    """Whether nothing need be asked of the guest: it is held to its grant, and far from its limit. One that lost
    its driver gets near to it before it meets it."""
    return past.settled and past.over_since is None and limit == wanted and held + margin(most) // 2 <= limit


def _without_driver(seen: Seen, past: Past, now: float) -> Limit:
    """One that never was at work has given nothing. One that went away may be on its way from one kernel to
    another, and both are honest."""
    full = seen.most + seen.beside
    if not past.settled:
        return Limit(full, past)
    if past.grace_from is None or now - past.grace_from >= AGAIN_S:
        past = replace(past, grace_from=now)
    assert past.grace_from is not None
    if now - past.grace_from < GRACE_S:
        return Limit(full, past)
    return Limit(_no_more(seen), past, "has let go of its balloon")


def _given(seen: Seen, past: Past, wanted: int, now: float) -> Limit:
    if seen.held + margin(seen.most) // 2 <= wanted:
        return Limit(wanted, replace(past, over_since=None))
    since = now if past.over_since is None else past.over_since
    past = replace(past, over_since=since)
    if now - since < GRACE_S:
        return Limit(max(wanted, _no_more(seen)), past)
    return Limit(wanted, past, f"holds {seen.held - seen.beside} MiB or more, and says that it gave them back")


def _no_more(seen: Seen) -> int:
    """Than it holds already: nothing of that is taken from it."""
    return min(seen.limit, seen.held + margin(seen.most))
