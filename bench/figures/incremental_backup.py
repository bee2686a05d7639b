"""What an incremental backup of a running guest reads, beside what the guest has written since the last one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.shells import Send, managed_console, type_line, wait_ready
from bench.rigs.wirtd import Wirtd, serving
from bench.rigs.workshop import Workshop

NAME, SIZE = "bench", "256M"
PAGE, PIECES, STRIDE = 4096, 16, 3841
"""``STRIDE`` in pages: pieces begin anywhere in the 64 KiB that changes are counted in."""
LARGE, SMALL = "pieces of 1 MiB", "pieces of 4 KiB"


@dataclass(frozen=True, slots=True)
class Rig:
    wirtd: Wirtd
    send: Send
    log: Path
    place: Path


@contextlib.contextmanager
def rig(workshop: Workshop) -> Iterator[Rig]:
    """A guest of which there is a full backup."""
    with serving(workshop) as wirtd, wirtd.cleared(NAME):
        wirtd.request("POST", f"/v1/volumes/default/{NAME}?wait=1", {"size": SIZE}).finished()
        log = wirtd.console_log(wirtd.create(_config(workshop), paused=False))
        wait_ready(log)
        with managed_console(wirtd, NAME) as send:
            made = Rig(wirtd, send, log, workshop.folder("backups"))
            _backup(made)
            yield made


def _config(workshop: Workshop) -> str:
    return f"""name = "{NAME}"
type = "pvh"
memory = 96
kernel = "{workshop.tiny.kernel}"
ramdisk = "{workshop.tiny.initramfs}"
extra = "console=ttyS0 tick=0"
disk = [ "default/{NAME},,xvda,rw" ]
"""


def large(rig: Rig) -> float:
    return _moved_share(rig, (1 << 20) // PAGE)


def small(rig: Rig) -> float:
    return _moved_share(rig, 1)


def _moved_share(rig: Rig, pages: int) -> float:
    places = " ".join(str(number * STRIDE + 5) for number in range(PIECES))
    copy = f"dd if=/dev/urandom of=/dev/vda bs={PAGE} count={pages} seek=$i conv=notrunc,fsync 2>/dev/null"
    type_line(rig.send, rig.log, f"for i in {places}; do {copy}; done")
    return _backup(rig) / (PIECES * pages * PAGE)


def _backup(rig: Rig) -> int:
    """The bytes that it read."""
    body = {"to": str(rig.place), "cwd": "/"}
    done = rig.wirtd.request("POST", f"/v1/domains/{NAME}/backup?wait=1", body).finished()
    return int(done["result"]["moved"])


FIGURE = Figure(
    name="incremental-backup",
    measures="What an incremental backup of a running guest reads, for each byte written since the last one",
    unit="bytes",
    rig=rig,
    contenders=(
        Contender(LARGE, f"{PIECES} of them, anywhere on a disk of {SIZE}", large),
        Contender(SMALL, "the same: changes are counted in 64 KiB", small),
    ),
    promises=(
        Promise(
            "an incremental backup reads at most 1.1 times what has changed",
            LARGE,
            Basis.VALUE,
            Direction.AT_MOST,
            1.1,
            "bytes",
        ),
    ),
    runs=5,
    quick_runs=2,
    timeout_s=120.0,
)
