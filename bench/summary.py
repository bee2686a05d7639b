"""Raw runs to a few numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Round = Mapping[str, float]
"""One round's values by contender. One that failed is not in it."""


@dataclass(frozen=True, slots=True)
class Summary:
    runs: int
    median: float
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Paired:
    """A contender beside another, round by round: medians of the rounds' ratios and of their differences."""

    runs: int
    ratio: float
    difference: float


def summarise(rounds: Sequence[Round], contender: str) -> Summary | None:
    """``None`` if no run of it succeeded."""
    values = [each[contender] for each in rounds if contender in each]
    if not values:
        return None
    return Summary(len(values), median(values), min(values), max(values))


def compare(rounds: Sequence[Round], subject: str, against: str) -> Paired | None:
    """Over those rounds in which both succeeded; ``None`` if there is none. A ratio to nothing has no meaning,
    so rounds whose peer took 0 are left out."""
    pairs = [(each[subject], each[against]) for each in rounds if subject in each and each.get(against, 0) != 0]
    if not pairs:
        return None
    return Paired(len(pairs), median(a / b for a, b in pairs), median(a - b for a, b in pairs))
