"""A virtual CPU as the guest itself has it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GuestVcpu:
    """``number`` is the guest's own. ``online``: it works with it. ``fixed``: it can't be taken offline."""

    number: int
    online: bool
    fixed: bool = False
