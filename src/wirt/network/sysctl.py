"""Settings of one network device under /proc/sys/net (ip-sysctl of the kernel's documentation)."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/proc/sys/net")


def ensure(family: str, device: str, setting: str, value: str) -> None:
    """Give ``setting`` this value unless it has it; a kernel that does not know it needs nothing.

    ``OSError`` when it can't be written, as in a container whose /proc/sys is read-only.
    """
    path = _ROOT / family / "conf" / device / setting
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except FileNotFoundError:
        return


def read(family: str, device: str, setting: str) -> str | None:
    """``None`` where the kernel, or the device, does not have it."""
    try:
        return (_ROOT / family / "conf" / device / setting).read_text().strip()
    except OSError:
        return None
