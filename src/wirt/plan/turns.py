"""Which move may begin now, when only so many go on side by side: pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Leaving:
    """A move from this host that is not over. ``begun``: it has had its turn. ``since`` orders those that wait.
    ``batch``: those that one command asked for, of which ``at_once`` may go side by side (``None``: as many as the
    host lets)."""

    id: str
    target: str
    since: float
    begun: bool
    batch: str | None = None
    at_once: int | None = None


def waits_for(mine: Leaving, others: Iterable[Leaving], at_once: int) -> str | None:
    """What ``mine`` waits for on this host, in words; ``None``: nothing, if the other host takes it. ``others``:
    without it. Whoever goes to a host that is busy keeps nobody from going to another one."""
    others = tuple(others)
    going = [each for each in others if each.begun]
    if len(going) >= at_once:
        return f"{len(going)} move from this host already"
    if not _batch_lets(mine, going):
        return f"{mine.at_once} of this command move already"
    before = [each for each in others if _before(each, mine) and _batch_lets(each, going)]
    return f"{len(before)} to {mine.target} are before it" if before else None


def _batch_lets(one: Leaving, going: list[Leaving]) -> bool:
    if one.batch is None or one.at_once is None:
        return True
    return sum(each.batch == one.batch for each in going) < one.at_once


def _before(one: Leaving, other: Leaving) -> bool:
    return not one.begun and one.target == other.target and (one.since, one.id) < (other.since, other.id)


def side_by_side(count: int, at_once: int | None, limit: int) -> int:
    """How many of ``count`` moves that one command asks for go on at the same time, at most."""
    return max(1, min(count, limit if at_once is None else at_once, limit))
