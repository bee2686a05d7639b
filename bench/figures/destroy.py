"""From the word to the end of the guest's process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.bare import bare
from bench.rigs.guests import Guest
from bench.rigs.processes import COMMAND_S, wait_gone
from bench.rigs.wirtd import Wirtd, serving
from bench.rigs.workshop import Workshop

NAME = "bench"
RUNNING_S = 0.3
"""How long the guest runs before: it is then in the middle of its boot, with its CPU busy."""
API, BARE, WIRT, VIRSH = "wirt API", "bare quit", "wirt destroy", "virsh destroy"


@dataclass(frozen=True, slots=True)
class Rig:
    workshop: Workshop
    wirtd: Wirtd
    guest: Guest
    text: str
    planned: list[str]


@contextlib.contextmanager
def rig(workshop: Workshop) -> Iterator[Rig]:
    guest = Guest(workshop.tiny)
    text = guest.xl_config(NAME)
    with serving(workshop) as wirtd:
        yield Rig(workshop, wirtd, guest, text, wirtd.planned_command(text))


@contextlib.contextmanager
def end_of(pid: int) -> Iterator[Callable[[], float]]:
    """A function that waits until the process is gone and gives the seconds since this block began."""
    pidfd = os.pidfd_open(pid)
    try:
        begin = time.perf_counter()

        def wait_s() -> float:
            wait_gone(pidfd)
            return time.perf_counter() - begin

        yield wait_s
    finally:
        os.close(pidfd)


@contextlib.contextmanager
def started_by_wirt(rig: Rig) -> Iterator[int]:
    """The process of a guest that has run for a moment."""
    with rig.wirtd.cleared(NAME):
        rig.wirtd.create(rig.text, paused=False)
        time.sleep(RUNNING_S)
        yield rig.wirtd.qemu_pid(NAME)


def by_api(rig: Rig) -> float:
    with started_by_wirt(rig) as pid, end_of(pid) as wait_s:
        request = rig.wirtd.request("POST", f"/v1/domains/{NAME}/destroy?wait=1")
        took_s = wait_s()
        request.finished()
        return took_s * 1000


def by_command(rig: Rig) -> float:
    with started_by_wirt(rig) as pid, end_of(pid) as wait_s:
        return _of_command(rig.wirtd.spawn("destroy", NAME), wait_s) * 1000


def bare_quit(rig: Rig) -> float:
    with bare(rig.workshop, rig.planned) as guest:
        guest.qmp.execute("cont")
        time.sleep(RUNNING_S)
        return guest.quit_s() * 1000


def by_virsh(rig: Rig) -> float:
    libvirt = rig.workshop.libvirt
    with libvirt.cleared(NAME):
        libvirt.run("create", libvirt.define_file(rig.guest, NAME, rig.workshop.accelerator or "tcg"))
        time.sleep(RUNNING_S)
        with end_of(libvirt.qemu_pid(NAME)) as wait_s:
            return _of_command(libvirt.spawn("destroy", NAME), wait_s) * 1000


def _of_command(command: subprocess.Popen[bytes], wait_s: Callable[[], float]) -> float:
    """``wait_s`` while ``command`` runs; the command has ended when this returns, however it does."""
    try:
        took_s = wait_s()
        command.wait(COMMAND_S)
    except BaseException:
        command.kill()
        command.wait()
        raise
    return took_s


FIGURE = Figure(
    name="destroy",
    measures="A running guest: from the request, or the command's start, until QEMU's process is gone (pidfd)",
    unit="ms",
    rig=rig,
    contenders=(
        Contender(API, "POST /v1/domains/NAME/destroy on wirtd's socket", by_api, BARE),
        Contender(BARE, "QMP's quit, from a script", bare_quit),
        Contender(WIRT, "the command, its start included", by_command, VIRSH),
        Contender(VIRSH, "the command, its start included", by_virsh),
    ),
    promises=(
        Promise(
            "a destroyed guest's process is gone in less than 50 ms",
            API,
            Basis.VALUE,
            Direction.BELOW,
            50,
            "ms",
        ),
    ),
    runs=20,
    quick_runs=4,
)
