"""What happens to the images of a snapshot: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from wirt.model.storage import Volume

LONGEST = 120
"""Characters of a volume's name."""


@dataclass(frozen=True, slots=True)
class Removal:
    """How the volume of a snapshot goes that others may stand on. ``into``: the one that stands on it, whose
    content is put into it and whose place it takes; ``None``: nothing stands on it, and it just goes.
    ``shared``: more than one do, so it stays as it is."""

    into: str | None = None
    shared: tuple[str, ...] = ()


def kept_name(volume: str, snapshot: str, taken: Collection[str]) -> str:
    """``web+before`` for the volume ``web``; a number behind it where that name is taken."""
    number = 1
    while True:
        tail = f"+{snapshot}" if number == 1 else f"+{snapshot}.{number}"
        name = volume[: LONGEST - len(tail)] + tail
        if name not in taken:
            return name
        number += 1


def plan_removal(kept: str, volumes: Iterable[Volume]) -> Removal:
    """``volumes`` are all of the pool that ``kept`` is in."""
    above = tuple(sorted(volume.name for volume in volumes if volume.backing == kept))
    if len(above) > 1:
        return Removal(shared=above)
    return Removal(into=above[0] if above else None)
