"""Commands of iproute2 and util-linux, run to their end."""

from __future__ import annotations

import os
import shutil
import subprocess

from wirt.lab.errors import LabError

PROGRAMS = {"ip": "iproute2", "tc": "iproute2", "nsenter": "util-linux"}
DEADLINE_S = 60.0


def check_able() -> None:
    """``LabError`` where no lab can be made, saying what is missing."""
    if os.geteuid() != 0:
        raise LabError("a lab needs root, for its network namespaces", "sudo wirt lab ...")
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            raise LabError(f"a lab needs {program}(8)", f"install {package}")


def run(*words: str) -> str:
    """What the command prints. ``LabError`` with its own words if it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{words[0]} did not end well: {error}") from error
    if done.returncode != 0:
        raise LabError(f"{' '.join(words)}: {done.stderr.strip() or f'it ended with {done.returncode}'}")
    return done.stdout
