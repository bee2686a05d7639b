"""``rate=`` and ``rate-in=`` of a vif: ``10Mb/s``, ``250KB/s@20ms`` (xl-network-configuration(5), "rate"). What is
sent at once is the rate times the interval."""

from __future__ import annotations

import re

from wirt.config.xlcfg.spec import SpecError
from wirt.model.devices import Rate

_RATE = re.compile(r"(?P<number>[0-9]+)(?P<factor>[GMK]?)(?P<unit>[Bb])/s")
_INTERVAL = re.compile(r"(?P<number>[0-9]+)(?P<unit>|s|ms?|us?)")
_FACTORS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}
# As libxlutil has it: a bare number is seconds, whatever the manual page says.
_MICROSECONDS = {"": 1_000_000, "s": 1_000_000, "m": 1000, "ms": 1000, "u": 1, "us": 1}
_UINT32_MAX = 2**32 - 1
_UINT64_MAX = 2**64 - 1


def parse_rate(text: str, offset: int) -> Rate:
    """The rate that ``text`` gives, in bytes a second and microseconds.

    Raises :class:`SpecError` at ``offset`` (of ``text`` in its specification).
    """
    speed, at, interval = text.partition("@")
    match = _RATE.fullmatch(speed)
    if match is None:
        hint = "as in 10Mb/s, 250KB/s or 1MB/s@20ms; b is bits, B bytes"
        raise SpecError(offset, f"{speed or 'nothing'} is no rate", hint=hint)
    number = _c_integer(match["number"], "rate", offset)
    bytes_per_s = number * _FACTORS[match["factor"]] // (8 if match["unit"] == "b" else 1)
    if bytes_per_s == 0:
        raise SpecError(offset, "the rate is less than one byte a second")
    rate = Rate(bytes_per_s)
    if at:
        rate = Rate(bytes_per_s, _interval_us(interval, offset + len(speed) + 1))
    if rate.bytes_per_s * rate.interval_us > _UINT64_MAX:
        raise SpecError(offset, "the rate and its interval are too large together")
    return rate


def rate_text(rate: Rate) -> str:
    """What :func:`parse_rate` makes ``rate`` of, in the largest unit that says it exactly."""
    units = ((rate.bytes_per_s * 8, "b"), (rate.bytes_per_s, "B"))
    speed = next(
        f"{amount // factor}{letter}{unit}/s"
        for amount, unit in units
        for letter, factor in sorted(_FACTORS.items(), key=lambda item: -item[1])
        if amount % factor == 0 and amount // factor <= _UINT32_MAX
    )
    if rate.interval_us == Rate(1).interval_us:
        return speed
    milliseconds, rest = divmod(rate.interval_us, 1000)
    return f"{speed}@{rate.interval_us}us" if rest else f"{speed}@{milliseconds}ms"


def _interval_us(text: str, offset: int) -> int:
    match = _INTERVAL.fullmatch(text)
    if match is None:
        raise SpecError(offset, f"{text or 'nothing'} is no interval", hint="as in 20ms, 500us or 1s")
    interval = _c_integer(match["number"], "interval", offset) * _MICROSECONDS[match["unit"]]
    if interval > _UINT32_MAX:
        raise SpecError(offset, f"the interval {text} is longer than {_UINT32_MAX} us")
    return interval


def _c_integer(digits: str, what: str, offset: int) -> int:
    """C's integers: a leading 0 is octal. Zero and more than 32 bits are refused."""
    try:
        number = int(digits, 8 if digits.startswith("0") else 10) if len(digits) <= 20 else _UINT64_MAX
    except ValueError:
        raise SpecError(offset, f"{digits} starts with 0 and so must be octal") from None
    if not 0 < number <= _UINT32_MAX:
        raise SpecError(offset, f"the {what}'s number must be between 1 and {_UINT32_MAX}")
    return number
