"""The API's types of classes of service, version 1. Conventions as in :mod:`wirt.wire.v1`.

``words`` are those that a class is defined with: ``weight``, ``cap``, ``memory-guarantee``, ``iops``,
``bps-read``, ``iops-burst``, ``burst-seconds``, ``rate``, ``rate-in`` ..., each with its value as text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class QosClass:
    """``domains`` are the names of all that name it, also of those that are off."""

    name: str
    words: dict[str, Any] = field(default_factory=dict)
    domains: list[str] = field(default_factory=list)
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class QosClassList:
    classes: list[QosClass]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class QosClassRequest:
    name: str
    words: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QosClassChange:
    """What is not named stays; an empty word, or ``none``, is taken away. Without words the class is laid on all
    who run with it once more."""

    words: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QosRequest:
    """``None`` or ``none`` takes a domain's class away."""

    name: str | None = None


@dataclass(frozen=True, slots=True)
class WeightRequest:
    """1 to 1000; ``None`` takes it away."""

    weight: int | None = None


@dataclass(frozen=True, slots=True)
class Weight:
    """What the domain has in the end. ``remarks`` say what of its terms this host can't keep."""

    name: str
    weight: int
    remarks: list[str] = field(default_factory=list)
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class QosRow:
    """``origin``: ``own`` (the domain's configuration), ``class``, or ``unasked``."""

    what: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class QosTerms:
    """What a domain has in the end. ``name`` is the domain's, ``qos_class`` its class's; ``remarks`` say what of
    the class it can't have."""

    name: str
    qos_class: str | None
    rows: list[QosRow] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    api: str = VERSION
