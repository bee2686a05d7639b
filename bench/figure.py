"""What a figure declares: who is measured, how often, and what is promised of the result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from bench.rigs.workshop import Workshop

R = TypeVar("R")

RIG_TIMEOUT_S = 180.0
"""For what is built once before the first run: a thousand domains, or QEMU's functional probe."""


class Basis(StrEnum):
    """What a promise holds against its limit: the subject's median, or the median over the runs of what each
    run's subject is to the same run's peer."""

    VALUE = "value"
    DIFFERENCE = "difference"
    RATIO = "ratio"


class Direction(StrEnum):
    AT_MOST = "at most"
    BELOW = "below"
    AT_LEAST = "at least"


@dataclass(frozen=True, slots=True)
class Promise:
    """``subject`` and ``against`` name contenders; ``against`` is there unless ``basis`` is VALUE. ``unit`` is
    the figure's, or "times" for a ratio."""

    words: str
    subject: str
    basis: Basis
    direction: Direction
    limit: float
    unit: str
    against: str | None = None

    def __post_init__(self) -> None:
        if (self.against is None) != (self.basis is Basis.VALUE):
            raise ValueError(f"{self.words}: a {self.basis} needs {'no' if self.against else 'a'} peer")

    def kept_by(self, measured: float) -> bool:
        match self.direction:
            case Direction.AT_MOST:
                return measured <= self.limit
            case Direction.BELOW:
                return measured < self.limit
            case Direction.AT_LEAST:
                return measured >= self.limit


@dataclass(frozen=True, slots=True)
class Contender(Generic[R]):
    """``run`` does a single run on the figure's rig, leaves nothing of it behind, and returns the figure's
    value. It raises :class:`~bench.rigs.absence.NotHere` if this machine hasn't got what it takes. ``beside``
    is the contender that the table sets it in relation to."""

    name: str
    what: str
    run: Callable[[R], float]
    beside: str | None = None


@dataclass(frozen=True, slots=True)
class Figure(Generic[R]):
    """``rig`` holds what the contenders share (daemons, files) for all runs. ``timeout_s`` is for
    one run, ``rig_timeout_s`` for building the rig."""

    name: str
    measures: str
    unit: str
    rig: Callable[[Workshop], AbstractContextManager[R]]
    contenders: tuple[Contender[R], ...]
    promises: tuple[Promise, ...]
    runs: int
    quick_runs: int
    warm_up: int = 1
    timeout_s: float = 30.0
    rig_timeout_s: float = RIG_TIMEOUT_S

    def __post_init__(self) -> None:
        names = {contender.name for contender in self.contenders}
        if len(names) != len(self.contenders):
            raise ValueError(f"{self.name}: two contenders have one name")
        meant = {promise.subject for promise in self.promises}
        meant |= {peer for each in self.promises if (peer := each.against) is not None}
        meant |= {peer for each in self.contenders if (peer := each.beside) is not None}
        if meant - names:
            raise ValueError(f"{self.name}: there is no contender {', '.join(sorted(meant - names))}")
