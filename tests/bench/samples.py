"""A figure without daemons, for tests of the frame."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.workshop import Workshop

Run = Callable[[list[str]], float]


def promise(basis: Basis = Basis.RATIO, limit: float = 2.0, direction: Direction = Direction.AT_MOST) -> Promise:
    against = None if basis is Basis.VALUE else "peer"
    return Promise("ours is quick", "ours", basis, direction, limit, "times", against)


def figure(ours: Run, peer: Run, *, rig_fails: Exception | None = None, warm_up: int = 0) -> Figure[list[str]]:
    """Its rig is a list, to which the rig's own end is added last."""

    @contextlib.contextmanager
    def rig(workshop: Workshop) -> Iterator[list[str]]:
        if rig_fails is not None:
            raise rig_fails
        log: list[str] = []
        try:
            yield log
        finally:
            log.append("end")

    return Figure(
        name="sample",
        measures="How | quick",
        unit="ms",
        rig=rig,
        contenders=(Contender("ours", "what we do", ours, "peer"), Contender("peer", "what they do", peer)),
        promises=(promise(),),
        runs=3,
        quick_runs=1,
        warm_up=warm_up,
        timeout_s=0.2,
    )
