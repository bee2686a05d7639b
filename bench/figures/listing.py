"""The command that scripts run most."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.guests import Guest
from bench.rigs.processes import timed_command
from bench.rigs.wirtd import Wirtd, serving
from bench.rigs.workshop import Workshop

MANY = 1000
PYTHON, NONE, THOUSAND, VIRSH = "python -c pass", "wirt list", "wirt list, 1,000 domains", "virsh list"


@dataclass(frozen=True, slots=True)
class Rig:
    workshop: Workshop
    empty: Wirtd
    full: Wirtd


@contextlib.contextmanager
def rig(workshop: Workshop) -> Iterator[Rig]:
    guest = Guest(workshop.tiny)
    with serving(workshop, fake=True) as empty, serving(workshop, fake=True) as full:
        for number in range(MANY):
            full.create(guest.xl_config(f"domain-{number}"), paused=True)
        yield Rig(workshop, empty, full)


def python(rig: Rig) -> float:
    return timed_command([sys.executable, "-c", "pass"], rig.empty.environment, {}) * 1000


def none(rig: Rig) -> float:
    return rig.empty.run("list") * 1000


def thousand(rig: Rig) -> float:
    return rig.full.run("list") * 1000


def virsh(rig: Rig) -> float:
    return rig.workshop.libvirt.run("list") * 1000


FIGURE = Figure(
    name="list-time",
    measures="Whole commands, from their start to their end",
    unit="ms",
    rig=rig,
    contenders=(
        Contender(PYTHON, "the interpreter of .venv, doing nothing", python),
        Contender(NONE, "a daemon without domains", none, PYTHON),
        Contender(THOUSAND, "a daemon with a thousand domains of the fake hypervisor", thousand, NONE),
        Contender(VIRSH, "a session libvirtd without domains", virsh, PYTHON),
    ),
    promises=(
        Promise(
            "wirt list takes at most 6 times an empty Python",
            NONE,
            Basis.RATIO,
            Direction.AT_MOST,
            6,
            "times",
            PYTHON,
        ),
        Promise(
            "with 1,000 domains at most twice as long as with none",
            THOUSAND,
            Basis.RATIO,
            Direction.AT_MOST,
            2,
            "times",
            NONE,
        ),
    ),
    runs=40,
    quick_runs=8,
    warm_up=2,
)
