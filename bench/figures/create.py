"""What wirt adds to QEMU's own start, and the whole command beside libvirt's."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.bare import bare
from bench.rigs.guests import Guest
from bench.rigs.libvirt import Libvirt
from bench.rigs.wirtd import Wirtd, serving
from bench.rigs.workshop import Workshop

NAME = "bench"
API, BARE, WIRT, VIRSH = "wirt API", "bare QEMU", "wirt create -p", "virsh create --paused"


@dataclass(frozen=True, slots=True)
class Rig:
    workshop: Workshop
    wirtd: Wirtd
    guest: Guest
    planned: list[str]

    @property
    def libvirt(self) -> Libvirt:
        return self.workshop.libvirt


@contextlib.contextmanager
def rig(workshop: Workshop) -> Iterator[Rig]:
    guest = Guest(workshop.tiny)
    with serving(workshop) as wirtd:
        text = guest.xl_config(NAME)
        yield Rig(workshop, wirtd, guest, wirtd.planned_command(text))


def by_api(rig: Rig) -> float:
    text = rig.guest.xl_config(NAME)
    begin = time.perf_counter()
    with rig.wirtd.cleared(NAME):
        rig.wirtd.create(text, paused=True)
        return (time.perf_counter() - begin) * 1000


def bare_qemu(rig: Rig) -> float:
    with bare(rig.workshop, rig.planned) as guest:
        return guest.until_qmp_s * 1000


def by_command(rig: Rig) -> float:
    config = rig.wirtd.home / "bench.cfg"
    config.write_text(rig.guest.xl_config(NAME))
    with rig.wirtd.cleared(NAME):
        return rig.wirtd.run("create", "-p", str(config)) * 1000


def by_virsh(rig: Rig) -> float:
    libvirt = rig.libvirt
    path = libvirt.define_file(rig.guest, NAME, rig.workshop.accelerator or "tcg")
    with libvirt.cleared(NAME):
        return libvirt.run("create", "--paused", path) * 1000


FIGURE = Figure(
    name="create-until-qmp",
    measures="A directly booted guest, created paused: the time until QEMU's QMP has answered",
    unit="ms",
    rig=rig,
    contenders=(
        Contender(API, "POST /v1/domains?wait=1 on wirtd's socket, until it is done and recorded", by_api, BARE),
        Contender(
            BARE, "the same command line, spawned by a script, until it has answered qmp_capabilities", bare_qemu
        ),
        Contender(WIRT, "the whole command, from its start to its end", by_command, VIRSH),
        Contender(VIRSH, "the whole command, against a session libvirtd that runs already", by_virsh),
    ),
    promises=(
        Promise(
            "wirt adds at most 20 ms to the start of a bare QEMU",
            API,
            Basis.DIFFERENCE,
            Direction.AT_MOST,
            20,
            "ms",
            BARE,
        ),
        Promise("wirt create is faster than virsh create", WIRT, Basis.RATIO, Direction.BELOW, 1, "times", VIRSH),
    ),
    runs=25,
    quick_runs=5,
)
