"""Weights and caps: what spinning guests get beside what is theirs, and how soon a change holds."""

from __future__ import annotations

from collections.abc import Callable

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.spinners import NAMES, Spinners, spinners

WEIGHTS, CAPS = (512, 1024), (25, 50)
ONE, OTHER = NAMES
CHANGE_WEIGHT, CHANGE_CAP = "another weight", "another cap"
POINTS, CAP_POINTS, SOON_MS = 3.0, 2.0, 100.0


def beside_256(weight: int) -> Callable[[Spinners], float]:
    def run(rig: Spinners) -> float:
        rig.set(ONE, weight=256)
        rig.set(OTHER, weight=weight)
        with rig.spinning(*NAMES):
            rig.set(ONE, weight=256)
            rig.set(OTHER, weight=weight)
            used = rig.used()
        return 100 * abs(used[OTHER] / sum(used.values()) - weight / (256 + weight))

    return run


def capped(cap: int) -> Callable[[Spinners], float]:
    def run(rig: Spinners) -> float:
        with rig.spinning(ONE):
            rig.set(ONE, cap=cap)
            return abs(100 * rig.used()[ONE] - cap)

    return run


def change_weight(rig: Spinners) -> float:
    return max(rig.set(ONE, weight=512), rig.set(ONE)) * 1000


def change_cap(rig: Spinners) -> float:
    return max(rig.set(ONE, cap=50), rig.set(ONE)) * 1000


def _weights(weight: int) -> str:
    return f"weights 256:{weight}"


def _cap(cap: int) -> str:
    return f"cap of {cap}%"


FIGURE = Figure(
    name="shares",
    measures="How far spinning guests are from what is theirs: the heavier one's part of what both get of one "
    "CPU, or a capped one's part of a CPU that is free otherwise. libvirt is not beside it: its session mode "
    "has no control groups",
    unit="points",
    rig=spinners,
    contenders=(
        *(Contender(_weights(each), "two guests on one CPU", beside_256(each)) for each in WEIGHTS),
        *(Contender(_cap(each), "one guest alone", capped(each)) for each in CAPS),
    ),
    promises=(
        *(
            Promise(
                f"{_weights(each)}: within {POINTS:g} points",
                _weights(each),
                Basis.VALUE,
                Direction.AT_MOST,
                POINTS,
                "points",
            )
            for each in WEIGHTS
        ),
        *(
            Promise(
                f"{_cap(each)}: within {CAP_POINTS:g} points",
                _cap(each),
                Basis.VALUE,
                Direction.AT_MOST,
                CAP_POINTS,
                "points",
            )
            for each in CAPS
        ),
    ),
    runs=5,
    quick_runs=1,
    warm_up=0,
    timeout_s=120,
)

CHANGE = Figure(
    name="shares-change",
    measures="From the request to the answer, which comes when the run is held to it",
    unit="ms",
    rig=spinners,
    contenders=(
        Contender(CHANGE_WEIGHT, "the slower of there and back", change_weight),
        Contender(CHANGE_CAP, "the slower of there and back", change_cap),
    ),
    promises=tuple(
        Promise(f"{name} within {SOON_MS:g} ms", name, Basis.VALUE, Direction.BELOW, SOON_MS, "ms")
        for name in (CHANGE_WEIGHT, CHANGE_CAP)
    ),
    runs=20,
    quick_runs=3,
)
