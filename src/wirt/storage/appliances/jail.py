"""The jail that the worker runs in: Python, wirt's own modules, and the files that are handed over open. No
network, no other process, no file that can be written, bounded memory. Sources: bwrap(1), prlimit(1)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import zstandard

import wirt
from wirt.model.units import GIB
from wirt.storage.image_jail import system

MEMORY_BYTES = 2 * GIB
"""Of address space: the index of a Xen disk with a million chunks takes half of it."""
_CODE = "/code"
_NOBODY = "65534"


def worker(order: str) -> Iterator[str]:
    """The command that carries out ``order`` (worker.py)."""
    yield from ("prlimit", f"--as={MEMORY_BYTES}", "--core=1", "--nofile=512", "--fsize=0", "--")
    yield from ("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL")
    yield from ("--uid", _NOBODY, "--gid", _NOBODY, *system())
    python = Path(os.path.realpath(sys.executable))
    for place in {os.path.realpath(sys.base_prefix), str(python.parent)}:
        if not Path(place).is_relative_to("/usr"):
            yield from ("--ro-bind", place, place)
    for module in (wirt, zstandard):
        yield from ("--ro-bind", str(Path(str(module.__file__)).parent), f"{_CODE}/{module.__name__}")
    yield from ("--remount-ro", "/", "--chdir", "/", "--clearenv", "--setenv", "LC_ALL", "C.UTF-8")
    yield from ("--setenv", "PYTHONPATH", _CODE, "--", str(python), "-S", "-s", "-B")
    yield from ("-m", "wirt.storage.appliances.worker", order)
