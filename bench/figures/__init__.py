"""The figures, in the order in which they are shown. A new one is a module here and a name in this list."""

from __future__ import annotations

from typing import Any

from bench.figure import Figure
from bench.figures import boot, create, destroy, hundredth, listing, memory

FIGURES: tuple[Figure[Any], ...] = (
    create.FIGURE,
    hundredth.FIGURE,
    memory.FIGURE,
    listing.FIGURE,
    boot.FIGURE,
    destroy.FIGURE,
)
