"""The shell on a guest's console: lines typed into it, and what is read in the log of that console."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from websockets.sync.client import ClientConnection, unix_connect

from bench.rigs.guests import READY
from bench.rigs.wirtd import Wirtd

ANSWER_S, BOOT_S = 60.0, 120.0
_TICK_S = 0.05

Send = Callable[[bytes], object]


def wait_ready(log: Path) -> None:
    wait_until(lambda: READY in _after(log, 0), f"{log}: the guest to boot", BOOT_S)


def type_line(send: Send, log: Path, line: str) -> None:
    """Returns when the shell has come past it."""
    seen, mark = log.stat().st_size, f"typed-{time.monotonic_ns()}"
    send(f"{line}\necho {mark[:6]}''{mark[6:]}\n".encode())
    wait_until(lambda: mark.encode() in _after(log, seen), f"{log}: the shell")


@contextlib.contextmanager
def managed_console(wirtd: Wirtd, name: str) -> Iterator[Send]:
    """Drained meanwhile: one that is not read answers no ping after a while, and is closed."""
    with unix_connect(wirtd.socket, f"ws://localhost/v1/domains/{name}/console") as console:
        reader = threading.Thread(target=_drain_websocket, args=(console,))
        reader.start()
        try:
            yield console.send
        finally:
            console.close()
            reader.join()


def _drain_websocket(console: ClientConnection) -> None:
    for _ in console:
        pass


@contextlib.contextmanager
def bare_console(path: Path) -> Iterator[Send]:
    """Drained meanwhile: QEMU writes byte by byte, a socket holds some 300 of those, and then the guest stands."""
    with socket.socket(socket.AF_UNIX) as console:
        console.connect(str(path))
        reader = threading.Thread(target=_drain, args=(console,))
        reader.start()
        try:
            yield console.sendall
        finally:
            console.shutdown(socket.SHUT_RDWR)
            reader.join()


def _drain(console: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while console.recv(65536):
            pass


def wait_until(what: Callable[[], object], name: str, within_s: float = ANSWER_S) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name}: not within {within_s:g} s")
        time.sleep(_TICK_S)


def _after(log: Path, offset: int) -> bytes:
    with log.open("rb") as file:
        file.seek(offset)
        return file.read()
