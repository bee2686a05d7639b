"""The jail of a run as it was built, kept in the run's directory, which its QEMU can't reach: what ``wirt audit``
compares with."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from wirt.model.errors import CorruptState
from wirt.plan.jail import Access
from wirt.plan.observed import Planned, PlannedFile

FILE = "jail-plan.json"
VERSION = 1
MOST_BYTES = 1 << 20


def write(directory: Path, planned: Planned) -> None:
    """Raises ``OSError``."""
    text = json.dumps({"v": VERSION, **asdict(planned)})
    descriptor = os.open(directory / FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def read(directory: Path) -> Planned | None:
    """``None`` if there is none. ``CorruptState`` if it can't be understood."""
    path = directory / FILE
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(MOST_BYTES))
        return _planned(data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptState(f"what the jail was built to be can't be read from {path}: {error}") from error


def _planned(data: dict[str, Any]) -> Planned:
    """Fields of a newer wirt are left out."""
    known = {spec.name for spec in fields(Planned)}
    values = {name: _tuple(value) for name, value in data.items() if name in known}
    handed = tuple(PlannedFile(str(file["path"]), Access(file["access"])) for file in data["handed"])
    return Planned(**{**values, "handed": handed})


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
