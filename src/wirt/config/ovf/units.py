"""Amounts in OVF: a number and its unit (DSP0243, 7.2 and annex C: "programmatic units"; older writers say
MegaBytes)."""

from __future__ import annotations

import re

from wirt.model.errors import BadInput
from wirt.model.text import plain

_UNIT = re.compile(r"byte(?:\s*\*\s*(?P<base>2|10|1024)\s*(?:\^\s*(?P<power>[0-9]{1,2}))?)?", re.IGNORECASE)
_OLD = {
    "": 0,
    "b": 0,
    "bytes": 0,
    "kb": 10,
    "kilobytes": 10,
    "mb": 20,
    "megabytes": 20,
    "gb": 30,
    "gigabytes": 30,
    "tb": 40,
    "terabytes": 40,
}


def number(text: str, what: str, most: int) -> int:
    """A count, 1 to ``most``. ``BadInput`` names ``what`` has another."""
    text = text.strip()
    if not text.isascii() or not text.isdigit() or len(text) > 19 or not 0 < int(text) <= most:
        raise BadInput(f"{what} is {plain(text, 40)!r}; it is a number from 1 to {most}")
    return int(text)


def amount(text: str, unit: str, what: str, most: int, default_power: int = 0) -> int:
    """Bytes, of a number of ``unit``; where none is said, of 2 to the ``default_power``."""
    return _bounded(number(text, what, most) * factor(unit, what, default_power), what, most)


def factor(unit: str, what: str, default_power: int = 0) -> int:
    unit = unit.strip()
    if not unit:
        return int(1 << default_power)
    old = _OLD.get(unit.lower())
    if old is not None:
        return int(1 << old)
    match = _UNIT.fullmatch(unit)
    if match is None:
        raise BadInput(
            f"{what} is counted in {plain(unit, 40)!r}, which is no unit of bytes", hint="byte * 2^20, say"
        )
    if match["base"] is None:
        return 1
    return int(int(match["base"]) ** min(int(match["power"] or 1), 62))


def _bounded(value: int, what: str, most: int) -> int:
    if value > most:
        raise BadInput(f"{what} is {value} bytes, which can't be")
    return value
