"""What a live migration costs the guest, and whoever waits for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs import mirrors
from bench.rigs.absence import NotHere
from bench.rigs.mirrors import SIZE_MIB
from bench.rigs.moves import MEMORY_MIB, Managed, Moved, managed, scripted, traveller, with_virsh
from bench.rigs.workshop import Workshop

WIRT, BARE, TLS, VIRSH = "wirt", "bare", "bare with TLS", "libvirt"
WHAT = {
    WIRT: "two daemons, jails, TLS between them, through the API",
    BARE: "the same command line, a script, a unix socket, nothing encrypted",
    TLS: "the same with wirt's kind of certificates",
    VIRSH: "virsh migrate --live between two session daemons, a unix socket, nothing encrypted",
}
PEERS = (WIRT, BARE, TLS, VIRSH)
SLOW_BYTES_PER_S = "16M"


class Mover(Protocol):
    def move(self) -> Moved: ...


@dataclass(slots=True)
class Rig:
    """A move of each is measured once a round, whatever is asked of it. Each round begins with another: whoever
    moves right after a certain one is better, or worse, off than the rest."""

    movers: dict[str, Mover]
    missing: dict[str, str]
    rounds: int = 0
    last: dict[str, Moved] = field(default_factory=dict)
    taken: set[tuple[str, str]] = field(default_factory=set)

    def moved(self, who: str, what: str) -> Moved:
        if who in self.missing:
            raise NotHere(self.missing[who])
        if who not in self.last or (who, what) in self.taken:
            self._round()
        self.taken.add((who, what))
        return self.last[who]

    def _round(self) -> None:
        names = list(self.movers)
        first = self.rounds % len(names)
        for each in (*names[first:], *names[:first]):
            self.last[each] = self.movers[each].move()
        self.rounds += 1
        self.taken.clear()


@contextlib.contextmanager
def rig(workshop: Workshop) -> Iterator[Rig]:
    guest = traveller(workshop)
    with contextlib.ExitStack() as stack:
        wirt = stack.enter_context(managed(workshop, guest))
        planned = wirt.hosts[0].planned_command(guest.xl_config("by-hand"))
        movers: dict[str, Mover] = {
            WIRT: wirt,
            BARE: stack.enter_context(scripted(workshop, planned)),
            TLS: stack.enter_context(scripted(workshop, planned, protected=True)),
        }
        missing: dict[str, str] = {}
        try:
            movers[VIRSH] = stack.enter_context(with_virsh(workshop, guest))
        except NotHere as absent:
            missing[VIRSH] = str(absent)
        yield Rig(movers, missing)


def _contender(who: str, what: str, value: Callable[[Moved], float], beside: str | None) -> Contender[Rig]:
    return Contender(
        f"{what}, {who}", WHAT[who], lambda rig: value(rig.moved(who, what)) * 1000, beside and f"{what}, {beside}"
    )


STOOD, SILENT, TOTAL, ASKED = "stood still", "silent", "total", "from the request"


def _stood_s(moved: Moved) -> float:
    assert moved.stood_s is not None
    return moved.stood_s


def _beside(who: str) -> str | None:
    return BARE if who == WIRT else None


FIGURE = Figure(
    name="migration",
    measures=f"A guest of {MEMORY_MIB} MiB that only ticks goes to the other host: how long it stands still (from "
    "STOP to RESUME), how long nobody hears it, how long all takes until it is heard over there",
    unit="ms",
    rig=rig,
    contenders=(
        *(_contender(who, STOOD, _stood_s, _beside(who)) for who in (WIRT, BARE, TLS)),
        *(_contender(who, SILENT, lambda moved: moved.silence_s, _beside(who)) for who in PEERS),
        *(_contender(who, TOTAL, lambda moved: moved.total_s, _beside(who)) for who in PEERS),
        _contender(WIRT, ASKED, lambda moved: moved.asked_s, None),
    ),
    promises=(
        Promise(
            "it stands still for at most 1.2 times what it does in a bare script",
            f"{STOOD}, {WIRT}",
            Basis.RATIO,
            Direction.AT_MOST,
            1.2,
            "times",
            f"{STOOD}, {BARE}",
        ),
        Promise(
            "an idle guest stands still for less than 100 ms",
            f"{STOOD}, {WIRT}",
            Basis.VALUE,
            Direction.BELOW,
            100,
            "ms",
        ),
        Promise(
            "it is silent no longer than with libvirt",
            f"{SILENT}, {WIRT}",
            Basis.RATIO,
            Direction.AT_MOST,
            1.0,
            "times",
            f"{SILENT}, {VIRSH}",
        ),
        Promise(
            "all takes at most 1.2 times what a bare script takes",
            f"{TOTAL}, {WIRT}",
            Basis.RATIO,
            Direction.AT_MOST,
            1.2,
            "times",
            f"{TOTAL}, {BARE}",
        ),
        Promise(
            "and at most 1.2 times one that encrypts",
            f"{TOTAL}, {WIRT}",
            Basis.RATIO,
            Direction.AT_MOST,
            1.2,
            "times",
            f"{TOTAL}, {TLS}",
        ),
    ),
    runs=11,
    quick_runs=3,
    timeout_s=180.0,
)


def _plain(rig: mirrors.Rig) -> float:
    return rig.by_script(protected=False)


def _encrypted(rig: mirrors.Rig) -> float:
    return rig.by_script(protected=True)


DISKS = Figure(
    name="migration-disks",
    measures=f"A disk of {SIZE_MIB} MiB goes along with its guest: MiB a second until both sides have the same",
    unit="MiB/s",
    rig=mirrors.rig,
    contenders=(
        Contender(WIRT, WHAT[WIRT], mirrors.Rig.by_wirt, BARE),
        Contender(BARE, "blockdev-mirror into NBD by a script, a unix socket", _plain),
        Contender(TLS, "the same, encrypted", _encrypted),
    ),
    promises=(
        Promise(
            "a disk goes at 0.9 of the speed of a bare mirror",
            WIRT,
            Basis.RATIO,
            Direction.AT_LEAST,
            0.9,
            "times",
            BARE,
        ),
        Promise("and of one that encrypts", WIRT, Basis.RATIO, Direction.AT_LEAST, 0.9, "times", TLS),
    ),
    runs=5,
    quick_runs=2,
    timeout_s=120.0,
)


def _spent(moved: Moved) -> float:
    return 100 * moved.cpu_s / moved.asked_s


@contextlib.contextmanager
def managed_alone(workshop: Workshop) -> Iterator[Managed]:
    with managed(workshop, traveller(workshop)) as made:
        yield made


CPU = Figure(
    name="migration-cpu",
    measures="What both wirtds use of one CPU together, from the request until the guest is heard over there",
    unit="%",
    rig=managed_alone,
    contenders=(
        Contender("as fast as it goes", "half of it is the plan", lambda rig: _spent(rig.move())),
        Contender(
            f"at {SLOW_BYTES_PER_S}B/s",
            "one that takes its time",
            lambda rig: _spent(rig.move(bandwidth=SLOW_BYTES_PER_S)),
        ),
    ),
    promises=(
        Promise(
            "wirtd uses less than 5% of one CPU",
            f"at {SLOW_BYTES_PER_S}B/s",
            Basis.VALUE,
            Direction.BELOW,
            5,
            "%",
        ),
    ),
    runs=5,
    quick_runs=2,
    timeout_s=90.0,
)
