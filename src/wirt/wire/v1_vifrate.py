"""The API's types of limits of network cards, version 1. Conventions as in :mod:`wirt.wire.v1`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateRequest:
    """``rate`` is of what the guest sends, ``rate_in`` of what it is sent, as in ``10Mb/s@20ms``; an empty one
    takes the limit away, ``None`` leaves it."""

    rate: str | None = None
    rate_in: str | None = None
