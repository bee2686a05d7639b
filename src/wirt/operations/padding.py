"""What an emulated guest's memory has beyond what was asked for (:data:`wirt.plan.launch.PADDING_KIB`).

Whether it has that is settled when it begins, and stays so wherever it goes on: in the notes of its run, in the
offer of a move, with a snapshot and in a saved guest's file.
"""

from __future__ import annotations

from collections.abc import Mapping

from wirt.plan.launch import PADDING_KIB, LaunchPlan

PADDING = "padding-kib"
"""In an incarnation's notes, and among the arguments of a job whose run goes on from somewhere."""


def padding_note(plan: LaunchPlan) -> dict[str, str]:
    return {PADDING: str(plan.padding_kib)}


def noted_padding_kib(notes: Mapping[str, str]) -> int:
    """Of a run. Those that were begun before it was written down have it."""
    return int(notes.get(PADDING, PADDING_KIB))
