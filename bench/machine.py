"""What was measured on: enough to judge numbers by, nothing that names the machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from bench.rigs.workshop import ROOT, Workshop
from wirt import __version__

Facts = dict[str, str | int | float]
EMULATOR, CLIENT = "qemu-system-x86_64", "virsh"


def machine(workshop: Workshop) -> Facts:
    """``load`` is the average of the last minute."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count() or 1,
        "memory_gib": round(memory_bytes / 2**30, 1),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "kernel": platform.release(),
        "accelerator": workshop.accelerator or "none used",
        "load": round(os.getloadavg()[0], 1),
    }


def versions() -> Facts:
    found: Facts = {
        "wirt": __version__,
        "commit": _first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty") or "unknown",
        "python": platform.python_version(),
        "qemu": _first_line(EMULATOR, "--version").removeprefix("QEMU emulator version "),
        "libvirt": _first_line(CLIENT, "--version"),
    }
    return {name: value or "not installed" for name, value in found.items()}


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _first_line(program: str, *arguments: str) -> str:
    path = shutil.which(program)
    if path is None:
        return ""
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False, timeout=20)
    return next(iter(done.stdout.splitlines()), "")
