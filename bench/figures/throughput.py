"""A guest that wirt manages, filtered and jailed, moves as much over its card as a bare QEMU does.

Emulated guests move what their CPU allows. So both are measured at the same moment, on one CPU, each in a control
group with one half of it: whatever else the machine does, it does to both.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.bare import bare
from bench.rigs.groups import common_group
from bench.rigs.namespace import own_namespace, run
from bench.rigs.processes import CPU, hold_to
from bench.rigs.shells import bare_console, managed_console, wait_ready
from bench.rigs.traffic import IN, OUT, Move, connected, serve
from bench.rigs.wirtd import Wirtd, serving
from bench.rigs.workshop import Workshop

MANAGED_NAME, BARE_NAME = "managed", "bare"
HOST, MANAGED, BARE = "10.78.0.1", "10.78.0.11", "10.78.0.12"
BARE_TAP = "bare0"
WARM_UP_S, WINDOW_S = 0.5, 4.0


@dataclass(frozen=True, slots=True)
class Rig:
    """``seen``: what the bare guest moved when the managed one was last measured, by way."""

    seen: dict[str, float] = field(default_factory=dict)


@contextlib.contextmanager
def rig(workshop: Workshop) -> Iterator[Rig]:
    with (
        own_namespace(),
        common_group(f"wirt-throughput-{os.getpid()}") as group,
        serving(workshop, settings={"WIRT_JAIL": "on"}, prefix=group.prefix) as wirtd,
    ):
        run("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        run("ip", "address", "add", f"{HOST}/24", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        with wirtd.cleared(MANAGED_NAME):
            domid = wirtd.create(config(workshop, MANAGED_NAME, MANAGED), paused=False)
            log = wirtd.console_log(domid)
            wait_ready(log)
            with managed_console(wirtd, MANAGED_NAME) as send:
                serve(send, log)
            hold_to(wirtd.qemu_pid(MANAGED_NAME), [CPU])
            with _bare_guest(workshop, wirtd) as pid:
                group.beside(wirtd.qemu_pid(MANAGED_NAME), pid)
                hold_to(pid, [CPU])
                yield Rig()


@contextlib.contextmanager
def _bare_guest(workshop: Workshop, wirtd: Wirtd) -> Iterator[int]:
    """Its QEMU's pid. The same command line, except that QEMU makes the tap by itself."""
    planned = wirtd.planned_command(config(workshop, BARE_NAME, BARE))
    itself = rf"\1,ifname={BARE_TAP},script=no,downscript=no"
    with bare(workshop, [re.sub(r"^(tap,id=[^,]+),fd=\d+", itself, word) for word in planned]) as run_:
        run("ip", "link", "set", BARE_TAP, "master", "br0", "up")
        run_.qmp.execute("cont")
        wait_ready(run_.console_log)
        with bare_console(run_.console_log.with_name("console.sock")) as send:
            serve(send, run_.console_log)
        yield run_.process.pid


def config(workshop: Workshop, name: str, address: str) -> str:
    return f"""name = "{name}"
type = "pvh"
memory = 128
kernel = "{workshop.tiny.kernel}"
ramdisk = "{workshop.tiny.initramfs}"
extra = "console=ttyS0 tick=0 ip={address}/24"
vif = [ "bridge=br0,ip={address}/24" ]
"""


def together(rig: Rig, move: Move) -> float:
    """Mbit/s of the managed guest; those of the bare one are kept for when it is asked for."""
    with ThreadPoolExecutor(2) as threads, connected(MANAGED, move.port) as one, connected(BARE, move.port) as two:
        begin = time.monotonic() + WARM_UP_S
        managed, bare = threads.map(lambda end: move.count(end, begin, begin + WINDOW_S), (one, two))
    rig.seen[move.way] = bare * 8 / 1e6 / WINDOW_S
    return managed * 8 / 1e6 / WINDOW_S


def _contenders(move: Move) -> tuple[Contender[Rig], Contender[Rig]]:
    managed, bare = f"{move.way}, wirt", f"{move.way}, bare"
    same = "the same command line and kind of tap, without filter and jail, at the same moment"
    return (
        Contender(managed, "filtered, jailed", lambda rig: together(rig, move), bare),
        Contender(bare, same, lambda rig: rig.seen.pop(move.way)),
    )


def _promise(way: str, words: str) -> Promise:
    return Promise(words, f"{way}, wirt", Basis.RATIO, Direction.AT_LEAST, 0.95, "times", f"{way}, bare")


FIGURE = Figure(
    name="net-throughput",
    measures="TCP between the host and a tiny guest with a virtio card on a bridge, which has half of one CPU",
    unit="Mbit/s",
    rig=rig,
    contenders=(*_contenders(OUT), *_contenders(IN)),
    promises=(
        _promise("out", "a guest sends at least 0.95 of what one of bare QEMU sends"),
        _promise("in", "a guest is sent at least 0.95 of what one of bare QEMU is"),
    ),
    runs=9,
    quick_runs=2,
    warm_up=1,
    timeout_s=60,
)
