"""A network namespace of one's own: what tests do to devices there, the machine never sees."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)  # Python 3.11 has neither os.unshare nor os.setns


@contextmanager
def own_namespace() -> Iterator[None]:
    """For the calling thread and all that it starts. The kernel removes it with the last device's holder.

    The test is skipped, and says why, where none can be had.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root to make network devices in a namespace of its own: sudo make test")
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.unshare(_CLONE_NEWNET) != 0:
            reason = os.strerror(ctypes.get_errno())
            pytest.skip(f"needs CAP_SYS_ADMIN to make a network namespace ({reason}): run it outside a container")
        try:
            run("ip", "link", "set", "lo", "up")
            yield
        finally:
            if _libc.setns(before, _CLONE_NEWNET) != 0:
                pytest.exit("the way back into the machine's network namespace is closed", returncode=3)
    finally:
        os.close(before)


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout
