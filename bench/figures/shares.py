"""Weights and caps: what spinning guests get beside what is theirs, what a thief of credit gains, and how soon a
change holds."""

from __future__ import annotations

from collections.abc import Callable

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.spinners import LIBVIRT, NAMES, WIRT, Managers, spinners

WEIGHTS, CAPS = (512, 1024), (25, 50)
MANAGERS = (WIRT, LIBVIRT)
ONE, OTHER = NAMES
POINTS, CAP_POINTS, GAIN_PERCENT, SOON_MS = 3.0, 2.0, 5.0, 100.0


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


def change(manager: str, **there: int) -> Callable[[Managers], float]:
    def run(rig: Managers) -> float:
        guests = rig.of(manager)
        return max(guests.set(ONE, **there), guests.set(ONE)) * 1000

    return run


def _named(what: str, manager: str) -> str:
    return f"{what}, {manager}"


def _weights(weight: int) -> str:
    return f"weights 256:{weight}"


def _cap(cap: int) -> str:
    return f"cap of {cap}%"


def _within(what: str, limit: float, unit: str = "points") -> Promise:
    name = _named(what, WIRT)
    return Promise(f"{what}: within {limit:g} {unit}", name, Basis.VALUE, Direction.AT_MOST, limit, unit)


FIGURE = Figure(
    name="shares",
    measures="How far spinning guests are from what is theirs: the heavier one's part of what both get of one "
    "CPU, or a capped one's part of a CPU that is free otherwise",
    unit="points",
    rig=spinners,
    contenders=(
        *(
            Contender(_named(_weights(each), who), "two guests on one CPU", beside_256(who, each))
            for each in WEIGHTS
            for who in MANAGERS
        ),
        *(
            Contender(_named(_cap(each), who), "one guest alone", capped(who, each))
            for each in CAPS
            for who in MANAGERS
        ),
    ),
    promises=(
        *(_within(_weights(each), POINTS) for each in WEIGHTS),
        *(_within(_cap(each), CAP_POINTS) for each in CAPS),
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
        Contender(_named("a thief", who), "below 0: it lost what it slept", stolen(who)) for who in MANAGERS
    ),
    promises=(
        Promise(
            "a thief of credit gains next to nothing",
            _named("a thief", WIRT),
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

_CHANGES = {"another weight": {"weight": 512}, "another cap": {"cap": 50}}
_HOW = {
    WIRT: "the slower of there and back, over its socket",
    LIBVIRT: "the slower of there and back, by virsh, whose start is in it",
}

CHANGE = Figure(
    name="shares-change",
    measures="From the request to the answer, which comes when the run is held to it",
    unit="ms",
    rig=spinners,
    contenders=tuple(
        Contender(_named(what, who), _HOW[who], change(who, **there))
        for what, there in _CHANGES.items()
        for who in MANAGERS
    ),
    promises=tuple(
        Promise(f"{what} within {SOON_MS:g} ms", _named(what, WIRT), Basis.VALUE, Direction.BELOW, SOON_MS, "ms")
        for what in _CHANGES
    ),
    runs=20,
    quick_runs=3,
)
