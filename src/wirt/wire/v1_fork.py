"""The API's types of running copies, version 1."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ForkRequest:
    """``name``: the copies are called ``name-1`` to ``name-COUNT`` (null: as their source is). ``network``:
    ``none`` pulls the cables of their cards on bridges, ``same`` leaves them in. ``paused``: they wait for
    ``unpause``. The job's result has ``source``; ``stood_still_s``, how long that did; ``domains`` (name, uuid,
    and ``after_s``, from the command to the first instruction); ``snapshot``, of the source, on which their disks
    stand (null: they have none); ``cables``; and ``lost``: what of the source's cards only one card can have, and
    was not copied."""

    count: int = 1
    name: str | None = None
    network: str = "none"
    paused: bool = False
