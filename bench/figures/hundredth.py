"""A host with a hundred domains is as quick to create one more as an empty one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.guests import Guest
from bench.rigs.wirtd import Wirtd, serving
from bench.rigs.workshop import Workshop

FEW, MANY = "creates 2 to 11", "creates 96 to 105"


class Rig:
    """One fresh daemon a round, filled by both contenders one after the other."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._guest = Guest(workshop.tiny)
        self._wirtd: Wirtd | None = None
        self._stack = contextlib.ExitStack()
        self._created = 0

    def fresh(self) -> None:
        self.close()
        self._wirtd = self._stack.enter_context(serving(self._workshop, fake=True))

    def close(self) -> None:
        self._wirtd, self._created = None, 0
        self._stack.close()

    def create_until(self, count: int) -> None:
        if self._wirtd is None:
            raise RuntimeError("this round's daemon was not started, or has failed")
        while self._created < count:
            self._created += 1
            self._wirtd.create(self._guest.xl_config(f"domain-{self._created}"), paused=True)

    def time_creates(self, first: int, last: int) -> float:
        """The mean of these creates, in ms."""
        self.create_until(first - 1)
        begin = time.perf_counter()
        self.create_until(last)
        return (time.perf_counter() - begin) * 1000 / (last - first + 1)


@contextlib.contextmanager
def rig(workshop: Workshop) -> Iterator[Rig]:
    with contextlib.closing(Rig(workshop)) as rig:
        yield rig


def few(rig: Rig) -> float:
    rig.fresh()
    return rig.time_creates(2, 11)


def many(rig: Rig) -> float:
    took_ms = rig.time_creates(96, 105)
    rig.close()
    return took_ms


FIGURE = Figure(
    name="hundredth-domain",
    measures="Creating a domain among few and among a hundred: the mean of ten creates through the API, "
    "hypervisor fake, a fresh daemon each round",
    unit="ms",
    rig=rig,
    contenders=(
        Contender(FEW, "after the first, which loads what later ones have", few),
        Contender(MANY, "on the same daemon", many, FEW),
    ),
    promises=(
        Promise(
            "the hundredth domain takes at most 1.2 times the first",
            MANY,
            Basis.RATIO,
            Direction.AT_MOST,
            1.2,
            "times",
            FEW,
        ),
    ),
    runs=11,
    quick_runs=3,
    warm_up=0,
    timeout_s=90,
)
