"""What a running domain costs the daemon itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.guests import Guest
from bench.rigs.libvirt import started
from bench.rigs.processes import pss_mib
from bench.rigs.wirtd import serving
from bench.rigs.workshop import Workshop

REAL, FAKE = 8, 200
WIRT, WIRT_FAKE, LIBVIRT = "wirtd, real", "wirtd, fake", "libvirtd, real"


@dataclass(frozen=True, slots=True)
class Rig:
    workshop: Workshop
    guest: Guest


@contextlib.contextmanager
def rig(workshop: Workshop) -> Iterator[Rig]:
    yield Rig(workshop, Guest(workshop.tiny))


def growth_mib(pid: int, create: Callable[[str], object], count: int) -> float:
    """PSS for each domain, from one running to ``count``: the first loads what the others share."""
    create("domain-1")
    before_mib = pss_mib(pid)
    for number in range(2, count + 1):
        create(f"domain-{number}")
    return (pss_mib(pid) - before_mib) / (count - 1)


def wirtd_real(rig: Rig) -> float:
    with serving(rig.workshop) as wirtd:
        return growth_mib(wirtd.pid, lambda name: wirtd.create(rig.guest.xl_config(name), paused=True), REAL)


def wirtd_fake(rig: Rig) -> float:
    with serving(rig.workshop, fake=True) as wirtd:
        return growth_mib(wirtd.pid, lambda name: wirtd.create(rig.guest.xl_config(name), paused=True), FAKE)


def libvirtd_real(rig: Rig) -> float:
    with started(rig.workshop) as libvirt:

        def create(name: str) -> None:
            path = libvirt.define_file(rig.guest, name, rig.workshop.accelerator or "tcg")
            libvirt.run("create", "--paused", path)

        return growth_mib(libvirt.process.pid, create, REAL)


FIGURE = Figure(
    name="memory-per-domain",
    measures=f"What the daemon's PSS grows by for each running domain: from 1 to {REAL} paused guests, "
    f"or to {FAKE} in memory, on a fresh daemon",
    unit="MiB",
    rig=rig,
    contenders=(
        Contender(WIRT, "directly booted guests on QEMU", wirtd_real, LIBVIRT),
        Contender(WIRT_FAKE, "domains of the fake hypervisor", wirtd_fake, LIBVIRT),
        Contender(LIBVIRT, "the same guests", libvirtd_real),
    ),
    promises=(
        Promise("a running domain costs wirtd at most 5 MiB", WIRT, Basis.VALUE, Direction.AT_MOST, 5, "MiB"),
        Promise("a fake domain costs wirtd at most 5 MiB", WIRT_FAKE, Basis.VALUE, Direction.AT_MOST, 5, "MiB"),
    ),
    runs=3,
    quick_runs=1,
    warm_up=0,
    timeout_s=90,
)
