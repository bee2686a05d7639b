"""What an audit finds: one line for each thing that was looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from wirt.model.units import human_bytes


class Verdict(StrEnum):
    """``weaker``: as it was planned, and less than a jail can be, because the configuration or the host does not
    allow more. ``wider``: more than it should have. ``unknown``: it could not be looked at."""

    OK = "ok"
    WEAKER = "weaker"
    UNKNOWN = "unknown"
    WIDER = "wider"


@dataclass(frozen=True, slots=True)
class Finding:
    """``details`` is complete where ``found`` is short."""

    what: str
    found: str
    expected: str
    verdict: Verdict
    why: str = ""
    details: tuple[str, ...] = ()


def judged(
    what: str,
    found: str,
    expected: str,
    *,
    wider: bool,
    weaker: bool = False,
    why: str = "",
    details: Iterable[str] = (),
) -> Finding:
    """``weaker`` makes what would be ``wider`` a thing that was known beforehand."""
    verdict = Verdict.OK if not wider else Verdict.WEAKER if weaker else Verdict.WIDER
    return Finding(what, found, expected, verdict, why, tuple(details))


def unseen(what: str, expected: str, reason: str) -> Finding:
    return Finding(what, "not seen", expected, Verdict.UNKNOWN, reason)


def worst(findings: Iterable[Finding]) -> Verdict:
    order = list(Verdict)
    return max((finding.verdict for finding in findings), key=order.index, default=Verdict.OK)


def few(items: Iterable[object], most: int = 3) -> str:
    """The first of them, and how many more there are; ``none``."""
    words = [str(item) for item in items]
    if not words:
        return "none"
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def size(value: int | None) -> str:
    return "unlimited" if value is None else human_bytes(value)


def number(value: int | None) -> str:
    return "unlimited" if value is None else str(value)
