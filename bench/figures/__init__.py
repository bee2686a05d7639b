"""The figures, in the order in which they are shown. A new one is a module here and a name in this list."""

from __future__ import annotations

from typing import Any

from bench.figure import Figure
from bench.figures import (
    accounting,
    attach,
    boot,
    create,
    destroy,
    disk,
    filter_rules,
    hundredth,
    incremental_backup,
    jail,
    limits,
    linked_clone,
    listing,
    memory,
    migration,
    neighbours,
    shares,
    throughput,
)

FIGURES: tuple[Figure[Any], ...] = (
    create.FIGURE,
    hundredth.FIGURE,
    memory.FIGURE,
    listing.FIGURE,
    boot.FIGURE,
    destroy.FIGURE,
    jail.FIGURE,
    attach.FIGURE,
    neighbours.FIGURE,
    shares.FIGURE,
    shares.THEFT,
    shares.CHANGE,
    limits.FIGURE,
    limits.CHANGE,
    throughput.FIGURE,
    filter_rules.FIGURE,
    linked_clone.FIGURE,
    incremental_backup.FIGURE,
    disk.THROUGHPUT,
    disk.IOPS,
    disk.ENGINES_FIGURE,
    migration.FIGURE,
    migration.DISKS,
    migration.CPU,
    accounting.FIGURE,
)
