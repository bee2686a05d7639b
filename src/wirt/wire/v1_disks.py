"""The API's types of disks that change while their domain runs, version 1: fields are only added."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DiskMove:
    """``target`` is ``POOL/VOLUME``, which is made. ``bytes_per_s`` as in ``10M``. ``keep``: the old one stays.
    ``overwrite``: the target is a device that exists, and all that is on it goes."""

    target: str
    format: str | None = None
    bytes_per_s: str | None = None
    keep: bool = False
    overwrite: bool = False
