"""What figures share that set wirt's guests and libvirt's to something: names, and how soon a change holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TypeVar

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.managed import LIBVIRT, WIRT
from bench.rigs.workshop import Workshop

R = TypeVar("R")

MANAGERS = (WIRT, LIBVIRT)
SOON_MS = 100.0
_HOW = {
    WIRT: "the slower of there and back, over its socket",
    LIBVIRT: "the slower of there and back, by virsh, whose start is in it",
}


def named(what: str, manager: str) -> str:
    return f"{what}, {manager}"


def within(what: str, limit: float, unit: str) -> Promise:
    """Of wirt's guests."""
    words = f"{what}: within {limit:g} {unit}"
    return Promise(words, named(what, WIRT), Basis.VALUE, Direction.AT_MOST, limit, unit)


def changes(
    name: str,
    rig: Callable[[Workshop], AbstractContextManager[R]],
    cases: Mapping[str, Callable[[str], Callable[[R], float]]],
) -> Figure[R]:
    """``cases``: what is changed, and by manager what measures how many ms that takes."""
    return Figure(
        name=name,
        measures="From the request to the answer, which comes when the run is held to it",
        unit="ms",
        rig=rig,
        contenders=tuple(
            Contender(named(what, who), _HOW[who], case(who)) for what, case in cases.items() for who in MANAGERS
        ),
        promises=tuple(
            Promise(
                f"{what} within {SOON_MS:g} ms", named(what, WIRT), Basis.VALUE, Direction.BELOW, SOON_MS, "ms"
            )
            for what in cases
        ),
        runs=20,
        quick_runs=3,
    )
