"""A network namespace of one's own, and another at the end of a wire: what is done to devices there, the machine
never sees (network_namespaces(7), veth(4))."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from bench.rigs.absence import NotHere

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_COMMAND_S = 10.0
_libc = ctypes.CDLL(None, use_errno=True)  # Python 3.11 has neither os.unshare nor os.setns


class Namespace:
    """``descriptor`` keeps it; it is gone with the last device's holder."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def call(self, what: Callable[[], T]) -> T:
        """``what``'s answer, in a thread of its own that is in there. A socket belongs to where it was made."""
        answers: list[T] = []
        failures: list[BaseException] = []

        def enter() -> None:
            try:
                _check(_libc.setns(self.descriptor, _CLONE_NEWNET))
                answers.append(what())
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]
        return answers[0]

    def run(self, *command: str) -> str:
        return self.call(lambda: run(*command))


@contextlib.contextmanager
def own_namespace() -> Iterator[Namespace]:
    """For the calling thread and all that it starts. ``NotHere`` where none can be had."""
    if os.geteuid() != 0:
        raise NotHere("needs root to make network devices in a namespace of its own")
    with contextlib.ExitStack() as stack:
        before = _current()
        stack.callback(os.close, before)
        if _libc.unshare(_CLONE_NEWNET) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise NotHere(f"needs CAP_SYS_ADMIN to make a network namespace ({reason})")
        stack.callback(_libc.setns, before, _CLONE_NEWNET)
        mine = _current()
        stack.callback(os.close, mine)
        run("ip", "link", "set", "lo", "up")
        yield Namespace(mine)


@contextlib.contextmanager
def another_namespace() -> Iterator[Namespace]:
    """One that nobody is in."""
    made: list[int] = []

    def leave() -> None:
        if _libc.unshare(_CLONE_NEWNET) == 0:
            made.append(_current())

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    if not made:
        raise NotHere("needs CAP_SYS_ADMIN to make a network namespace")
    try:
        yield Namespace(made[0])
    finally:
        os.close(made[0])


def move_link(name: str, to: Namespace) -> None:
    """``ip`` takes a path in the place of a namespace's name."""
    run("ip", "link", "set", name, "netns", f"/proc/self/fd/{to.descriptor}", keep=to.descriptor)


def run(*command: str, keep: int | None = None) -> str:
    """What it printed. ``keep``: a descriptor that it inherits."""
    kept = () if keep is None else (keep,)
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_COMMAND_S, pass_fds=kept)
    if done.returncode != 0:
        raise NotHere(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def _current() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _check(status: int) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
