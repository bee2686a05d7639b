"""Classes of service: what an administrator calls a bundle of shares and limits, which domains then name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wirt.model.devices import Rate
from wirt.model.diskqos import UNLIMITED, DiskQos

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
NAME_HINT = "letters, digits, dots, dashes: at most 63, the first a letter or a digit"
NO_CLASS = "none"
"""What takes a domain's class away, and so no class's name."""


def name_fault(name: str) -> str | None:
    """Why ``name`` can't be a class's, or ``None``."""
    if name == NO_CLASS:
        return f"{NO_CLASS} is the word for no class"
    return None if NAME.fullmatch(name) else f"{name[:40]!a} can't be the name of a class"


@dataclass(frozen=True, slots=True)
class QosClass:
    """What a domain that names it has unless it says something else itself. ``None``: of that the class says
    nothing.

    ``weight``, ``cap`` (0: no cap), ``disk_weight`` and ``network_weight`` as in xl.cfg. ``disk`` holds for each
    disk by itself and has no group. ``rate`` is of what each card in a bridge sends, ``rate_in`` of what it is
    sent. ``guarantee_mib`` is what ballooning leaves the guest in any case.
    """

    name: str
    weight: int | None = None
    cap: int | None = None
    disk_weight: int | None = None
    network_weight: int | None = None
    disk: DiskQos = UNLIMITED
    rate: Rate | None = None
    rate_in: Rate | None = None
    guarantee_mib: int | None = None
