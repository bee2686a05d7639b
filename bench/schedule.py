"""Who runs when: A B C A B C, so that what disturbs the machine disturbs all alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """``round`` counts from 0; a warm-up round is ``None`` and its values are thrown away."""

    contender: str
    round: int | None


def turns(contenders: Sequence[str], runs: int, warm_up: int) -> Iterator[Turn]:
    for number in range(-warm_up, runs):
        for contender in contenders:
            yield Turn(contender, number if number >= 0 else None)
