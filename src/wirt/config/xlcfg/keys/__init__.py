"""The table of keys: the one place that says what an xl.cfg may hold (xl.cfg(5)).

The parser checks values by it, ``wirt help keys`` and the reference page are printed from it. It has every
key of the manual page, and a few that xl reads without documenting them.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from wirt.config.xlcfg.keys import devices, extras, general, machine
from wirt.config.xlcfg.keys.row import Group, Key, Kind

__all__ = ["KEYS", "Group", "Key", "Kind", "nearest"]

KEYS: Mapping[str, Key] = MappingProxyType(
    {row.name: row for row in (*general.ROWS, *devices.ROWS, *machine.ROWS, *extras.ROWS)}
)

# Comparing is quadratic in the length, and nobody mistypes that much.
_LONGEST_GUESS = 40


def nearest(name: str) -> str | None:
    """The key that someone who wrote ``name`` may have meant."""
    if len(name) > _LONGEST_GUESS:
        return None
    plain = name.replace(".", "_")
    matches = get_close_matches(plain, KEYS, n=1, cutoff=0.75)
    return matches[0] if matches else None
