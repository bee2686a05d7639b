"""A guest's disks are as fast as those of a bare QEMU that was configured by hand.

Emulated guests do what their CPU allows. So both are measured at the same moment, on one CPU, each in a control
group with one half of it, on disks of the same kind that lie side by side. Each run is of two guests of its own: a
QEMU is up to a twentieth faster or slower than another of the same command line, for as long as it lives.
"""

from __future__ import annotations

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.disks import (
    ENGINES,
    KINDS,
    RANDOM_READ,
    RANDOM_WRITE,
    READ,
    WRITE,
    Kind,
    Load,
    Pairs,
    engines_pairs,
    kinds_pairs,
)


def _contenders(load: Load, kind: Kind) -> tuple[Contender[Pairs], Contender[Pairs]]:
    managed, bare = _names(load, kind)
    return (
        Contender(managed, f"{kind.what}; as wirt plans it, jailed", lambda rig: rig.together(load, kind), bare),
        Contender(
            bare,
            f"cache=none aio={kind.aio}, at the same moment",
            lambda rig: rig.meanwhile(load, kind),
        ),
    )


def _names(load: Load, kind: Kind) -> tuple[str, str]:
    return f"{kind.name}: {load.name}, wirt", f"{kind.name}: {load.name}, bare"


def _promise(load: Load, kind: Kind) -> Promise:
    managed, bare = _names(load, kind)
    words = f"a guest's {load.order} {load.way}s on {kind.what} are at least 0.95 of bare QEMU's"
    return Promise(words, managed, Basis.RATIO, Direction.AT_LEAST, 0.95, "times", bare)


def _figure(name: str, measures: str, unit: str, loads: tuple[Load, ...]) -> Figure[Pairs]:
    cases = [(load, kind) for kind in KINDS for load in loads]
    return Figure(
        name=name,
        measures=measures,
        unit=unit,
        rig=kinds_pairs,
        contenders=tuple(each for case in cases for each in _contenders(*case)),
        promises=tuple(_promise(*case) for case in cases),
        runs=7,
        quick_runs=1,
        warm_up=0,
        timeout_s=240,
        rig_timeout_s=900,
    )


THROUGHPUT = _figure(
    "disk-throughput",
    "Requests of 256 KiB one after the other, 8 under way at once, by a tiny guest that has half of one CPU",
    "MiB/s",
    (READ, WRITE),
)
IOPS = _figure(
    "disk-iops",
    "Requests of 4 KiB all over the disk, 8 under way at once, by a tiny guest that has half of one CPU",
    "1/s",
    (RANDOM_READ, RANDOM_WRITE),
)


def _engine(kind: Kind) -> Contender[Pairs]:
    return Contender(
        kind.name,
        f"qcow2, {kind.what}",
        lambda rig: rig.together(RANDOM_READ, kind),
        None if kind.name == "threads" else "threads",
    )


ENGINES_FIGURE = Figure(
    name="disk-engines",
    measures="Reads of 4 KiB all over a qcow2 disk, 8 at once, by a tiny guest beside a bare one that does so too",
    unit="1/s",
    rig=engines_pairs,
    contenders=tuple(_engine(kind) for kind in ENGINES),
    promises=(
        Promise(
            "the engine that wirt chooses for qcow2 serves no fewer requests than threads do",
            "native",
            Basis.RATIO,
            Direction.AT_LEAST,
            1,
            "times",
            "threads",
        ),
    ),
    runs=7,
    quick_runs=1,
    warm_up=0,
    timeout_s=240,
)
