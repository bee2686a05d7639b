"""A terminal in raw mode, given back as it was whatever happens."""

from __future__ import annotations

import os
import select
import signal
import termios
import tty
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any

LOOK_MS = 1000
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class RawTerminal:
    """Every key goes through as it is, Ctrl-C included. Left by an exception or by a signal that ends the
    process, the terminal is as before."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> RawTerminal:
        self._before = termios.tcgetattr(self._descriptor)
        self._handlers: dict[signal.Signals, Any] = {}
        for number in _ENDING:
            if signal.getsignal(number) is signal.SIG_DFL:
                self._handlers[number] = signal.signal(number, self._end)
        # Not TCSAFLUSH: what was typed ahead is meant for the guest.
        tty.setraw(self._descriptor, termios.TCSADRAIN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After SIGHUP the terminal is gone and nothing is left to restore. Not TCSADRAIN: a terminal that was
        # stopped with Ctrl-S would keep us here for ever.
        with suppress(termios.error):
            termios.tcsetattr(self._descriptor, termios.TCSANOW, self._before)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @staticmethod
    def _end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)


def read_ready(descriptors: list[int]) -> list[int]:
    """Those of ``descriptors`` that can be read; waits for one."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    # A signal that comes just before poll(2) begins to wait does not end it; Python acts on it between two.
    while not (found := poller.poll(LOOK_MS)):
        pass
    return [descriptor for descriptor, _ in found]


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of it, also to a terminal that someone else set non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
