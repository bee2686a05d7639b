"""What the jail costs at a guest's start."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.guests import Guest
from bench.rigs.wirtd import Wirtd, serving
from bench.rigs.workshop import Workshop

NAME = "bench"
JAILED, OPEN = "jail on", "jail off"


@dataclass(frozen=True, slots=True)
class Rig:
    jailed: Wirtd
    unjailed: Wirtd
    text: str


@contextlib.contextmanager
def rig(workshop: Workshop) -> Iterator[Rig]:
    text = Guest(workshop.tiny).xl_config(NAME)
    with (
        serving(workshop, settings={"WIRT_JAIL": "on"}) as jailed,
        serving(workshop, settings={"WIRT_JAIL": "off"}) as unjailed,
    ):
        yield Rig(jailed, unjailed, text)


def created(wirtd: Wirtd, text: str) -> float:
    begin = time.perf_counter()
    with wirtd.cleared(NAME):
        wirtd.create(text, paused=True)
        return (time.perf_counter() - begin) * 1000


FIGURE = Figure(
    name="jail-start",
    measures="A directly booted guest, created paused through the API: the time until it is done and recorded",
    unit="ms",
    rig=rig,
    contenders=(
        Contender(
            JAILED,
            "in namespaces, control group, uid, filter of system calls and a directory of its own",
            lambda rig: created(rig.jailed, rig.text),
            OPEN,
        ),
        Contender(OPEN, "QEMU with its own filter only", lambda rig: created(rig.unjailed, rig.text)),
    ),
    promises=(
        Promise(
            "the jail costs at most 15 ms at start", JAILED, Basis.DIFFERENCE, Direction.AT_MOST, 15, "ms", OPEN
        ),
    ),
    runs=25,
    quick_runs=5,
)
