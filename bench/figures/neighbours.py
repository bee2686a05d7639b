"""A guest gets what it is entitled to, whatever its neighbour does; and without limits it does not."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.bombs import BOMBS, CACHE, Bomb, spinning, spins, work
from bench.rigs.neighbours import Pair, pair

ENTITLED = 0.95
WORK = "cpu, work done"


def work_beside(pair: Pair) -> float:
    """Of one CPU second, beside what was done in one just before and just after without the neighbour."""
    with spinning(pair):
        before = work(pair)
        with spins(pair):
            beside = work(pair)
        return beside / mean((before, work(pair)))


def _name(bomb: Bomb, limited: bool) -> str:
    return f"{bomb.name}, limits {'on' if limited else 'off'}"


def _contender(bomb: Bomb, limited: bool) -> Contender[Pair]:
    measured: Callable[[Pair], float] = lambda pair: bomb.share(pair, limited)  # noqa: E731
    return Contender(_name(bomb, limited), bomb.what, measured)


def _promises(bomb: Bomb) -> tuple[Promise, Promise]:
    kept, harm = _name(bomb, True), _name(bomb, False)
    return (
        Promise(
            f"{bomb.name}: a victim loses at most 5%", kept, Basis.VALUE, Direction.AT_LEAST, ENTITLED, "times"
        ),
        Promise(f"{bomb.name}: without limits it would", harm, Basis.VALUE, Direction.BELOW, bomb.harm, "times"),
    )


_ALL = (*BOMBS, CACHE)

FIGURE = Figure(
    name="neighbours",
    measures="What a victim gets beside a neighbour of that kind, of what it is entitled to: half of the one CPU "
    "that they share, what it sends down their wire, or the host's memory that holds its disk",
    unit="times",
    rig=pair,
    contenders=(
        *(_contender(bomb, limited) for bomb in _ALL for limited in (True, False)),
        Contender(
            WORK, "the victim's own count for each CPU second, beside the same without the bomb", work_beside
        ),
    ),
    promises=(
        *(promise for bomb in _ALL for promise in _promises(bomb)),
        Promise("cpu: a CPU second is worth the same", WORK, Basis.VALUE, Direction.AT_LEAST, ENTITLED, "times"),
    ),
    runs=5,
    quick_runs=1,
    warm_up=0,
    timeout_s=120,
)
