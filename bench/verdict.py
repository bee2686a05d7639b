"""Was it kept? Measured values held against promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.figure import Basis, Promise
from bench.summary import Round, compare, summarise


class Outcome(StrEnum):
    KEPT = "kept"
    MISSED = "missed"
    NOT_MEASURABLE = "not measurable here"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``measured`` is in the promise's unit, and ``None`` with a ``reason`` if there is nothing to measure."""

    promise: Promise
    outcome: Outcome
    measured: float | None = None
    runs: int = 0
    reason: str = ""


def judge(promise: Promise, rounds: Sequence[Round], absent: Mapping[str, str]) -> Verdict:
    """``absent``: why a contender could not be measured, by name."""
    for name in (promise.subject, promise.against):
        if name is not None and name in absent:
            return Verdict(promise, Outcome.NOT_MEASURABLE, reason=f"{name}: {absent[name]}")
    measured, runs = _measured(promise, rounds)
    if measured is None:
        return Verdict(promise, Outcome.NOT_MEASURABLE, reason="no run succeeded")
    outcome = Outcome.KEPT if promise.kept_by(measured) else Outcome.MISSED
    return Verdict(promise, outcome, measured, runs)


def _measured(promise: Promise, rounds: Sequence[Round]) -> tuple[float | None, int]:
    if promise.against is None:
        alone = summarise(rounds, promise.subject)
        return (None, 0) if alone is None else (alone.median, alone.runs)
    paired = compare(rounds, promise.subject, promise.against)
    if paired is None:
        return None, 0
    return (paired.ratio if promise.basis is Basis.RATIO else paired.difference), paired.runs
