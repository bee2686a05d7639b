"""What a guest's memory is, kept wherever a guest is (:class:`~wirt.model.memory.GivenMemory`): in the notes of
its run, in the offer of a move, with a snapshot and in a saved guest's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from wirt.model.memory import OLD_PADDING_KIB, GivenMemory, HugePages
from wirt.plan.launch import LaunchPlan

GIVEN = "given-memory"
"""Among the arguments and notes of a job whose run goes on from somewhere."""
PADDING, SIZE, REPORTING = "padding-kib", "memory-mib", "free-page-reporting"
HOTPLUG = "hotplug-memory-mib"
HUGE, MERGE = "huge-page-kib", "mem-merge"
"""In an incarnation's notes; these two are this host's doing."""
OLD_SIZE = "memory_mib"
"""What QEMU's driver wrote into them from the first day on."""


def of_plan(plan: LaunchPlan) -> GivenMemory:
    return GivenMemory(plan.memory_mib, plan.padding_kib, plan.reporting, plan.hotplug_mib)


def notes_of(plan: LaunchPlan) -> dict[str, str]:
    """For the run that is started with ``plan``."""
    return {
        SIZE: str(plan.memory_mib),
        PADDING: str(plan.padding_kib),
        REPORTING: "on" if plan.reporting else "off",
        HOTPLUG: str(plan.hotplug_mib),
        **({HUGE: str(plan.ram.page_kib)} if plan.ram.page_kib is not None else {}),
        **({MERGE: "on"} if plan.ram.merge else {}),
    }


def huge_pages(notes: Mapping[str, str]) -> HugePages | None:
    """The reserved pages that a run's memory lies in."""
    kib = int(notes.get(HUGE, "0"))
    return next((each for each in HugePages if kib and each.kib == kib), None)


def noted(notes: Mapping[str, str]) -> GivenMemory:
    """Of a run. Those that were begun before it was written down have padding, and their balloons no reports."""
    size = int(notes.get(SIZE, notes.get(OLD_SIZE, "0")))
    padding = int(notes.get(PADDING, OLD_PADDING_KIB))
    return GivenMemory(size or None, padding, notes.get(REPORTING) == "on", int(notes.get(HOTPLUG, "0")))


def argument(given: GivenMemory) -> dict[str, object]:
    """As a job's argument or note :data:`GIVEN`."""
    return asdict(given)


def of_job(arguments: Mapping[str, Any]) -> GivenMemory | None:
    """What a job's run goes on with; ``None``: it begins. A job of an older daemon names the padding alone."""
    said, padding = arguments.get(GIVEN), arguments.get(PADDING)
    if said is not None:
        return GivenMemory(**said)
    return None if padding is None else GivenMemory(None, int(padding))
