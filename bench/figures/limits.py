"""Limits of disks and cards: how far from them a guest is that asks for more, and how soon another one holds."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from bench.figure import Contender, Figure
from bench.figures.changes import MANAGERS, changes, named, within
from bench.rigs.disks import Load
from bench.rigs.limited import DiskLimit, Limited, Rig, limited
from bench.rigs.traffic import IN, OUT, Move, connected

WINDOW_MS, WINDOW_S, WARM_UP_S = 5000, 5.0, 1.0
"""Long enough for what a limit lets pass at once after a rest, a tenth of a second's worth, to be a fiftieth."""
MBIT = 8
OFF_PERCENT = 5.0
_READ = Load("read", "read", "random", 4096, "per_s", WINDOW_MS)
_IOPS = DiskLimit(iops=200)
_BYTES = DiskLimit(bps=1 << 20)
_BURST = DiskLimit(iops=100, iops_burst=400, burst_s=6)
_DISK = {
    "200 requests a second": (_IOPS, 200),
    "1 MiB a second": (_BYTES, 256),
    "a burst of 400 requests a second": (_BURST, 400),
}


def disk(manager: str, limit: DiskLimit, due: float) -> Callable[[Rig], float]:
    def run(rig: Rig) -> float:
        guest = rig.of(manager)
        guest.limits.disk(limit)
        try:
            return _off(guest.disk_speed(_READ), due)
        finally:
            guest.limits.disk(DiskLimit())

    return run


def card(manager: str, move: Move) -> Callable[[Rig], float]:
    """The limit ends before the connection does: a reset that waits behind it is lost if the queue is full."""

    def run(rig: Rig) -> float:
        guest = rig.of(manager)
        with connected(guest.address, move.port) as connection:
            guest.limits.card(MBIT, MBIT)
            try:
                return _off(_mbit_s(guest, move, connection), MBIT)
            finally:
                guest.limits.card(0, 0)

    return run


def _mbit_s(guest: Limited, move: Move, connection: socket.socket) -> float:
    begin = time.monotonic()
    move.count(connection, begin, begin + WARM_UP_S)
    before, begin = guest.passed_bytes(move.way), time.monotonic()
    move.count(connection, begin, begin + WINDOW_S)
    passed, took_s = guest.passed_bytes(move.way) - before, time.monotonic() - begin
    return passed * 8 / 1e6 / took_s


def _off(found: float, due: float) -> float:
    return 100 * abs(found / due - 1)


def change_disk(manager: str) -> Callable[[Rig], float]:
    def run(rig: Rig) -> float:
        limits = rig.of(manager).limits
        return max(limits.disk(_IOPS), limits.disk(DiskLimit())) * 1000

    return run


def change_card(manager: str) -> Callable[[Rig], float]:
    def run(rig: Rig) -> float:
        limits = rig.of(manager).limits
        return max(limits.card(MBIT, MBIT), limits.card(0, 0)) * 1000

    return run


_CARD = {f"{MBIT} Mbit/s {move.way}": move for move in (OUT, IN)}

FIGURE = Figure(
    name="limits",
    measures="How far a guest that asks for all that it can get is from its limit: requests of 4 KiB all over its "
    "disk, or frames over its card",
    unit="percent",
    rig=limited,
    contenders=(
        *(
            Contender(named(what, who), "8 requests under way at once", disk(who, *limit))
            for what, limit in _DISK.items()
            for who in MANAGERS
        ),
        *(
            Contender(named(what, who), "one connection", card(who, move))
            for what, move in _CARD.items()
            for who in MANAGERS
        ),
    ),
    promises=tuple(within(what, OFF_PERCENT, "percent") for what in (*_DISK, *_CARD)),
    runs=5,
    quick_runs=1,
    warm_up=0,
    timeout_s=120,
)

CHANGE = changes(
    "limits-change", limited, {"another limit of a disk": change_disk, "another limit of a card": change_card}
)
