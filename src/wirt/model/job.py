"""A long operation as data: what a job is, was and will be, as the journal keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    UNDOING = "undoing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class StepState(StrEnum):
    WAITING = "waiting"
    DOING = "doing"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"
    UNDO_FAILED = "undo-failed"


class Recovery(StrEnum):
    """What a new daemon does with a job that its predecessor left: take it back, or carry it on."""

    UNDO = "undo"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class StepRecord:
    name: str
    state: StepState = StepState.WAITING


@dataclass(frozen=True, slots=True)
class JobError:
    code: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """``kind`` and step names are stable words, never names of Python objects. ``notes`` is what the steps
    wrote down for their undo and for each other (JSON values only). ``progress`` runs from 0 to 1."""

    id: str
    kind: str
    subject: str
    arguments: dict[str, Any]
    steps: tuple[StepRecord, ...]
    state: JobState = JobState.QUEUED
    notes: dict[str, Any] = field(default_factory=dict)
    progress: float = 0.0
    message: str = ""
    error: JobError | None = None
    created_at: float = 0.0
    finished_at: float | None = None
