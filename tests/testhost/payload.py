"""What is built outside because the test host has no compiler and no network: the tiny guest, the break-out
program."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wirt.images.tiny import TinyImage, build_tiny, find_tiny
from wirt.model.errors import ImageBuildFailed

from . import recipe
from .commands import Failed
from .machine import HOME, Machine

BREAKOUT = "/usr/lib/testhost/breakout"


def put_tiny(machine: Machine, cache: Path) -> None:
    """Where the tests look for it."""
    tiny = _tiny(cache)
    machine.put({"tiny": tiny.kernel.parent}, f"{HOME}/.cache")


def put_breakout(machine: Machine) -> None:
    """tests/sandbox's stand-in for a QEMU that was taken over, as a static program."""
    compiler = shutil.which("musl-gcc")
    if compiler is None:
        raise Failed("musl-gcc is not installed", hint="make setup, or apt-get install musl-tools")
    with tempfile.TemporaryDirectory() as name:
        program = Path(name) / "breakout"
        source = recipe.ROOT / "tests/sandbox/breakout.c"
        subprocess.run([compiler, "-static", "-O1", "-o", program, source], check=True, timeout=60)
        machine.put({"breakout": program}, str(Path(BREAKOUT).parent))


def _tiny(cache: Path) -> TinyImage:
    found = find_tiny(cache / "tiny")
    if found is not None:
        return found
    try:
        # In a thread, because an event loop may be running in this one.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(
                lambda: asyncio.run(build_tiny(cache / "tiny", cache / "packages", lambda what, share: None))
            ).result()
    except ImageBuildFailed as error:
        raise Failed(f"the tests inside need the tiny guest: {error}", hint=error.hint or "") from error
