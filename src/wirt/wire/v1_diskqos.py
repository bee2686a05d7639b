"""The API's types of limits of disks, version 1. Conventions as in :mod:`wirt.wire.v1`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class DiskQosRequest:
    """``words`` as in a disk's entry (``iops``, ``iops-burst``, ``bps-read``, ``burst-seconds``, ``qos-group``);
    0 takes a limit away. ``anew``: what is not named is not kept."""

    words: dict[str, str] = field(default_factory=dict)
    anew: bool = False


@dataclass(frozen=True, slots=True)
class DiskLimits:
    """``own`` stands in the configuration; ``now`` is what the hypervisor holds the disk to, its own or its
    group's, if it ``runs``. Words as in :class:`DiskQosRequest`, each with its value as text."""

    vdev: str
    runs: bool = False
    own: dict[str, Any] = field(default_factory=dict)
    now: dict[str, Any] = field(default_factory=dict)
    of_class: dict[str, Any] = field(default_factory=dict)
    """Those that come from the domain's class of service."""


@dataclass(frozen=True, slots=True)
class DiskLimitsList:
    disks: list[DiskLimits]
    api: str = "v1"
