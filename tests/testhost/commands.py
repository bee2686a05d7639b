"""Commands that building takes: bounded in time, ended with all that they started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "apt-config": "apt",
}


class Failed(Exception):
    """The test host can't be had; ``hint`` says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\n{hint}" if hint else message)
        self.hint = hint


def require_tools() -> None:
    if os.geteuid() != 0:
        raise Failed(
            "the test host is built by root only: it is a file system with owners and devices",
            hint="sudo make test",
        )
    missing = sorted({package for tool, package in PACKAGES.items() if shutil.which(tool) is None})
    if missing:
        raise Failed(
            f"not installed: {', '.join(missing)}", hint="make setup, or apt-get install " + " ".join(missing)
        )


def run(*words: str | Path, timeout_s: float) -> str:
    """A command's standard output. ``Failed`` with its last words; whatever ends the wait ends the command."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    process = subprocess.Popen(
        [str(word) for word in words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise Failed(f"`{words[0]}` did not end within {timeout_s:g} s") from None
    finally:
        end_session(process)
    if process.returncode != 0:
        said = (err or out).decode(errors="replace").strip()[-1500:]
        raise Failed(f"`{' '.join(str(word) for word in words[:3])}` failed ({process.returncode}): {said}")
    return out.decode(errors="replace")


def end_session(process: subprocess.Popen[bytes], grace_s: float = 10.0) -> None:
    """If it is still there: first with a chance to take its mounts away."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
