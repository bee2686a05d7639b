"""Sizes and times as wirt prints and reads them. A unit ends each name: ``_bytes``, ``_mib``, ``_s``."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def mib(size_bytes: int) -> int:
    """Whole MiB in ``size_bytes``, rounded down (as ``xl list`` prints memory)."""
    return size_bytes // MIB


def human_bytes(size_bytes: int) -> str:
    """``1536 -> '1.5 KiB'``: for people, never for scripts."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
