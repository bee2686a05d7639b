"""A guest that wirt manages boots as fast as one that nobody does."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.bare import bare
from bench.rigs.guests import READY, Guest
from bench.rigs.wirtd import Wirtd, serving
from bench.rigs.workshop import Workshop

NAME = "bench"
TICK_S = 0.005
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Rig:
    workshop: Workshop
    wirtd: Wirtd

    def pvh(self) -> Guest:
        return Guest(self.workshop.tiny)

    def hvm(self) -> Guest:
        """On a disk of its own, fresh for each run."""
        disk = self.workshop.directory / "boot.qcow2"
        shutil.copyfile(self.workshop.tiny.disk, disk)
        return Guest(self.workshop.tiny, disk)


@contextlib.contextmanager
def rig(workshop: Workshop) -> Iterator[Rig]:
    with serving(workshop) as wirtd:
        yield Rig(workshop, wirtd)


def through_wirt(rig: Rig, guest: Guest) -> float:
    text = guest.xl_config(NAME)
    begin = time.perf_counter()
    with rig.wirtd.cleared(NAME):
        domid = rig.wirtd.create(text, paused=False)
        wait_ready(rig.wirtd.console_log(domid))
        return time.perf_counter() - begin


def on_bare_qemu(rig: Rig, guest: Guest) -> float:
    planned = rig.wirtd.planned_command(guest.xl_config(NAME))
    with bare(rig.workshop, planned) as run:
        run.qmp.execute("cont")
        wait_ready(run.console_log)
        return time.perf_counter() - run.begin


def wait_ready(console: Path) -> None:
    """Until the guest says so in what QEMU itself writes of its console: seen alike for all contenders."""
    deadline = time.monotonic() + TIMEOUT_S
    seen = b""
    with console.open("rb") as log:
        while READY not in seen:
            seen = seen[-len(READY) :] + log.read()
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready within {TIMEOUT_S:g} s; its console ends with {seen[-300:]!r}")
            time.sleep(TICK_S)


def _contender(kind: str, who: str, what: str, run: Callable[[Rig, Guest], float]) -> Contender[Rig]:
    def boot(rig: Rig) -> float:
        return run(rig, rig.pvh() if kind == "pvh" else rig.hvm())

    return Contender(f"{kind}, {who}", what, boot, f"{kind}, bare" if who == "wirt" else None)


def _promise(kind: str) -> Promise:
    words = f"a {kind} guest is ready within 5% of bare QEMU's time"
    return Promise(words, f"{kind}, wirt", Basis.RATIO, Direction.AT_MOST, 1.05, "times", f"{kind}, bare")


FIGURE = Figure(
    name="boot-to-ready",
    measures="From the request, or the spawn, until the tiny guest's console says that it is ready",
    unit="s",
    rig=rig,
    contenders=(
        _contender("pvh", "wirt", "kernel and initramfs directly, through the API", through_wirt),
        _contender("pvh", "bare", "the same command line, spawned by a script", on_bare_qemu),
        _contender("hvm", "wirt", "SeaBIOS, GRUB and a disk, through the API", through_wirt),
        _contender("hvm", "bare", "the same command line, spawned by a script", on_bare_qemu),
    ),
    promises=(_promise("pvh"), _promise("hvm")),
    runs=9,
    quick_runs=1,
    warm_up=0,
    timeout_s=TIMEOUT_S + 30,
)
