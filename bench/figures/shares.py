"""Weights and caps: what spinning guests get beside what is theirs, what a thief of credit gains, and how soon a
change holds."""

from __future__ import annotations

from collections.abc import Callable

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.figures.changes import MANAGERS, changes, named, within
from bench.rigs.managed import WIRT
from bench.rigs.spinners import NAMES, Managers, spinners

WEIGHTS, CAPS = (512, 1024), (25, 50)
ONE, OTHER = NAMES
POINTS, CAP_POINTS, GAIN_PERCENT = 3.0, 2.0, 5.0


def beside_256(manager: str, weight: int) -> Callable[[Managers], float]:
    def run(rig: Managers) -> float:
        guests = rig.of(manager)
        with guests.spinning(*NAMES):
            guests.set(ONE, weight=256)
            guests.set(OTHER, weight=weight)
            used = guests.used()
        return 100 * abs(used[OTHER] / sum(used.values()) - weight / (256 + weight))

    return run


def capped(manager: str, cap: int) -> Callable[[Managers], float]:
    def run(rig: Managers) -> float:
        guests = rig.of(manager)
        with guests.spinning(ONE):
            guests.set(ONE, cap=cap)
            return abs(100 * guests.used()[ONE] - cap)

    return run


def stolen(manager: str) -> Callable[[Managers], float]:
    def run(rig: Managers) -> float:
        guests = rig.of(manager)
        with guests.spinning(*NAMES, thief=ONE):
            used = guests.used()
        return 100 * (2 * used[ONE] / sum(used.values()) - 1)

    return run


def change(**there: int) -> Callable[[str], Callable[[Managers], float]]:
    def by(manager: str) -> Callable[[Managers], float]:
        def run(rig: Managers) -> float:
            guests = rig.of(manager)
            return max(guests.set(ONE, **there), guests.set(ONE)) * 1000

        return run

    return by


def _weights(weight: int) -> str:
    return f"weights 256:{weight}"


def _cap(cap: int) -> str:
    return f"cap of {cap}%"


FIGURE = Figure(
    name="shares",
    measures="How far spinning guests are from what is theirs: the heavier one's part of what both get of one "
    "CPU, or a capped one's part of a CPU that is free otherwise",
    unit="points",
    rig=spinners,
    contenders=(
        *(
            Contender(named(_weights(each), who), "two guests on one CPU", beside_256(who, each))
            for each in WEIGHTS
            for who in MANAGERS
        ),
        *(
            Contender(named(_cap(each), who), "one guest alone", capped(who, each))
            for each in CAPS
            for who in MANAGERS
        ),
    ),
    promises=(
        *(within(_weights(each), POINTS, "points") for each in WEIGHTS),
        *(within(_cap(each), CAP_POINTS, "points") for each in CAPS),
    ),
    runs=5,
    quick_runs=1,
    warm_up=0,
    timeout_s=120,
)

THEFT = Figure(
    name="credit-stealing",
    measures="What a guest gains that works for 9.5 ms of every 10 ms and sleeps when a tick would find it, of "
    "its half of a CPU, beside one that always works",
    unit="percent",
    rig=spinners,
    contenders=tuple(
        Contender(named("a thief", who), "below 0: it lost what it slept", stolen(who)) for who in MANAGERS
    ),
    promises=(
        Promise(
            "a thief of credit gains next to nothing",
            named("a thief", WIRT),
            Basis.VALUE,
            Direction.AT_MOST,
            GAIN_PERCENT,
            "percent",
        ),
    ),
    runs=7,
    quick_runs=1,
    warm_up=0,
    timeout_s=120,
)

CHANGE = changes("shares-change", spinners, {"another weight": change(weight=512), "another cap": change(cap=50)})
