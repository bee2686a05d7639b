"""What the neighbour does, and what the victim keeps of what it is entitled to meanwhile.

Each bomb is measured twice: with the limits that every guest has, and with both guests in one control group and
the neighbour at its card without a rate, where the harm must show.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.rigs.neighbours import (
    BOMB,
    BOMB_DISK_MIB,
    BOMB_VCPUS,
    ECHO_PORT,
    PEER,
    PEER_TOO,
    PORT,
    UNLIMITED,
    VICTIM_DISK_MIB,
    WANTED_MBIT,
    Pair,
)
from bench.rigs.shells import wait_until
from wirt.model.units import MIB

WINDOW_S, SETTLE_S = 2.5, 0.7
FLOOD_S = 6
"""It ends by itself if the neighbour is too busy to be told to."""
HALF = 0.5
"""Two guests of one weight that both want all of one CPU."""
BYTES_PER_MBIT = 125_000
DISK_STEP_BYTES = 4 * MIB
_RECEIVE_BYTES = 32 * MIB
_libc = ctypes.CDLL(None, use_errno=True)

FORKS = "b() { [ $1 -gt 0 ] && { b $(($1-1)) & b $(($1-1)) & }; wait; }; while :; do b 6; done"
"""Each round ends with 127 processes at once: without that bound the kernel soon ends the guest's shell too."""
MEMORY = f"for i in $(seq {BOMB_VCPUS}); do (while :; do tail /dev/zero; done) & done; wait"
"""``tail`` keeps its last line, of which /dev/zero's is endless."""
_PART_MIB = BOMB_DISK_MIB // BOMB_VCPUS
_EACH_PART = f"for i in $(seq 0 {BOMB_VCPUS - 1}); do (while :; do dd bs=1M count={_PART_MIB}"
WRITES = f"{_EACH_PART} if=/dev/zero of=/dev/vda seek=$((i*{_PART_MIB})) conv=fsync; done) & done; wait"
READS = f"{_EACH_PART} if=/dev/vda of=/dev/null skip=$((i*{_PART_MIB})); done) & done; wait"
FLOOD = """
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    sender.sendto(b"wirt-flood " + bytes(1389), (sys.argv[1], int(sys.argv[2])))
"""


@dataclass(frozen=True, slots=True)
class Bomb:
    """``share`` of a pair, with limits or without: 1 is all that the victim is entitled to. Without them it must
    be below ``harm``."""

    name: str
    what: str
    share: Callable[[Pair, bool], float]
    harm: float = 0.8


def cpu_share(pair: Pair, window_s: float = WINDOW_S) -> float:
    """Of the CPU time that both got, the victim's, which spins, beside half or what the neighbour leaves."""
    time.sleep(SETTLE_S)
    before = pair.victim.cpu_s(), pair.bomb.cpu_s()
    time.sleep(window_s)
    victim, bomb = pair.victim.cpu_s() - before[0], pair.bomb.cpu_s() - before[1]
    share = victim / (victim + bomb)
    return share / max(HALF, 1 - bomb / (victim + bomb))


def work(pair: Pair, window_s: float = WINDOW_S) -> float:
    """Rounds of the victim's own loop for each second of CPU that it got."""
    time.sleep(SETTLE_S)
    before = pair.victim.spins(), pair.victim.cpu_s()
    time.sleep(window_s)
    spins, cpu_s = pair.victim.spins() - before[0], pair.victim.cpu_s() - before[1]
    return spins / cpu_s


@contextlib.contextmanager
def spinning(pair: Pair) -> Iterator[None]:
    pair.victim.ask("spin 1")
    try:
        yield
    finally:
        pair.victim.ask("spin 0")


@contextlib.contextmanager
def spins(pair: Pair) -> Iterator[None]:
    pair.bomb.ask(f"spin {BOMB_VCPUS}")
    try:
        yield
    finally:
        pair.bomb.ask("spin 0")


@contextlib.contextmanager
def shell(pair: Pair, script: str) -> Iterator[None]:
    """``script`` in the neighbour's shell, as a job, which is a process group."""
    pair.bomb.type(f"({script}) >/dev/null 2>&1 & bomb=$!")
    try:
        yield
    finally:
        pair.bomb.type("kill -9 -$bomb")


@contextlib.contextmanager
def limits(pair: Pair, limited: bool) -> Iterator[None]:
    with contextlib.nullcontext() if limited else pair.without_limits():
        yield


def of_cpu(bomb: Callable[[Pair], AbstractContextManager[None]]) -> Callable[[Pair, bool], float]:
    def share(pair: Pair, limited: bool) -> float:
        with spinning(pair), bomb(pair), limits(pair, limited):
            return cpu_share(pair)

    return share


def sends(pair: Pair, limited: bool) -> float:
    """What arrives of what the victim sends, while the neighbour sends all it can down the same wire."""
    with ExitStack() as stack:
        stack.enter_context(pair.on_all_cpus())
        inbox = stack.enter_context(contextlib.closing(pair.peer.call(lambda: receiver(PEER, PORT))))
        target = PEER if limited else PEER_TOO
        stack.enter_context(contextlib.closing(pair.peer.call(lambda: receiver(target, PORT + 1))))
        for guest, address, port, mbit in (
            (pair.victim, PEER, PORT, WANTED_MBIT),
            (pair.bomb, target, PORT + 1, 1000),
        ):
            guest.ask(f"flood {address} {port} {mbit} {FLOOD_S}")
            stack.callback(guest.ask, f"flood {address} {port} 0 0")
        stack.enter_context(limits(pair, limited))
        time.sleep(SETTLE_S)
        received_bytes(inbox)
        begin = time.monotonic()
        time.sleep(WINDOW_S)
        came = received_bytes(inbox) / (time.monotonic() - begin)
        return came / (WANTED_MBIT * BYTES_PER_MBIT)


def receiver(address: str, port: int) -> socket.socket:
    """With room for what arrives in a whole window."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), _RECEIVE_BYTES)
    made.bind((address, port))
    made.setblocking(False)
    return made


def received_bytes(inbox: socket.socket) -> int:
    total = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            total += len(inbox.recv(2048))
    return total


def receives(pair: Pair, limited: bool) -> float:
    """The victim's CPU while the world sends the neighbour all it can."""
    with spinning(pair), limits(pair, limited), flooded(pair, BOMB if limited else UNLIMITED):
        return cpu_share(pair)


@contextlib.contextmanager
def flooded(pair: Pair, address: str) -> Iterator[None]:
    """From another process than the guests, on another CPU if there is one."""
    command = [sys.executable, "-c", FLOOD, address, str(ECHO_PORT)]
    process = pair.peer.call(lambda: subprocess.Popen(command, stdin=subprocess.DEVNULL))
    try:
        os.sched_setaffinity(process.pid, [min(os.sched_getaffinity(0))])
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def disk(pair: Pair, limited: bool) -> float:
    """What the victim writes and reads back in a second, beside half of what it does with the CPU to itself."""
    with limits(pair, limited):
        alone = disk_rate(pair)
        with shell(pair, WRITES):
            time.sleep(SETTLE_S)
            beside = disk_rate(pair)
    return beside / alone / HALF


def disk_rate(pair: Pair) -> float:
    """Bytes a second."""
    begin, steps = time.monotonic(), 0
    while time.monotonic() < begin + WINDOW_S:
        offset = steps * DISK_STEP_BYTES % (VICTIM_DISK_MIB * MIB)
        for action in ("disk-write", "disk-verify"):
            answer = pair.victim.ask(f"{action} vda {offset} {DISK_STEP_BYTES} {steps}")
            if answer["ok"] != "1":
                raise RuntimeError(f"the victim's disk lost what was written: {answer}")
        steps += 1
    return 2 * steps * DISK_STEP_BYTES / (time.monotonic() - begin)


def cache(pair: Pair, limited: bool) -> float:
    """How much of the victim's disk the host still has in memory when the neighbour has read all of its own,
    larger one, with room for both guests' limits and no more."""
    with limits(pair, limited), ExitStack() as stack:
        for guest in (pair.victim, pair.bomb):
            forget(guest.disk)
        pair.victim.ask(f"disk-write vda 0 {VICTIM_DISK_MIB * MIB} 1")
        held = resident_bytes(pair.victim.disk)
        pair.group.bound_memory(pair.group.used_bytes() + pair.bomb_room_bytes())
        stack.callback(pair.group.bound_memory, None)
        stack.enter_context(pair.on_all_cpus())
        with shell(pair, READS):
            read = Reading(pair)
            wait_until(lambda: read.bytes() > 2 * BOMB_DISK_MIB * MIB, "the neighbour's reading", 120)
        return resident_bytes(pair.victim.disk) / held


class Reading:
    """Bytes that the neighbour's QEMU has read since (proc(5), io)."""

    def __init__(self, pair: Pair) -> None:
        self._file = Path(f"/proc/{pair.bomb.pid}/io")
        self._before = self._total()

    def bytes(self) -> int:
        return self._total() - self._before

    def _total(self) -> int:
        return int(self._file.read_text().split()[1])


def forget(image: Path) -> None:
    """Out of the host's memory."""
    with image.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident_bytes(image: Path) -> int:
    """Of its file in the kernel's cache (mincore(2))."""
    with image.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        pages = (ctypes.c_ubyte * (len(mapped) // mmap.PAGESIZE))()
        start = ctypes.c_char.from_buffer(mapped)
        failed = _libc.mincore(ctypes.byref(start), ctypes.c_size_t(len(mapped)), pages)
        del start
    if failed:
        raise OSError(ctypes.get_errno(), "mincore", str(image))
    return sum(page & 1 for page in pages) * mmap.PAGESIZE


BOMBS = (
    Bomb("cpu", f"{BOMB_VCPUS} virtual CPUs spin", of_cpu(spins), 0.6),
    Bomb("memory", "processes take memory until the guest has none", of_cpu(lambda pair: shell(pair, MEMORY))),
    Bomb("fork", "processes make processes", of_cpu(lambda pair: shell(pair, FORKS))),
    Bomb("disk", "4 processes write the disk and flush it", disk),
    Bomb("send", "datagrams as fast as it can, down a wire that both share", sends),
    Bomb("receive", "datagrams come in as fast as the host can send", receives),
)
CACHE = Bomb("cache", "its disk is read, which is larger than what it may have of the host's memory", cache)
