"""The jail of a run as it was built, kept in the run's directory, which its QEMU can't reach: what ``wirt audit``
compares with."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from wirt.model.errors import CorruptState
from wirt.plan.jail import Access
from wirt.plan.observed import Planned, PlannedFile, file_identity
from wirt.ports.files import about
from wirt.sandbox import observe_files

FILE = "jail-plan.json"
VERSION = 1
MOST_BYTES = 1 << 20


def write(directory: Path, planned: Planned) -> None:
    """Raises ``OSError``; then what was there before is there still."""
    text = json.dumps({"v": VERSION, **asdict(planned)})
    new = directory / f"{FILE}.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    new.rename(directory / FILE)


def change(directory: Path, pid: int, added: Sequence[PlannedFile], file_bytes: int | None) -> None:
    """Write down what a run was given since its start. Layers of disks that process ``pid`` has closed are left
    out. Raises ``OSError``."""
    planned = read(directory)
    if planned is None:
        return
    opened = {file.identity for file in observe_files.files(pid)}
    new = {file.identity for file in added}
    kept = [
        file
        for file in planned.handed
        if not (file.disk and file.identity) or (file.identity in opened and file.identity not in new)
    ]
    changed = replace(planned, handed=(*kept, *added), file_bytes=file_bytes or planned.file_bytes)
    if changed != planned:
        write(directory, changed)


def identities(paths: Iterable[str]) -> dict[str, str]:
    """Of files that are about to be handed over; one that is not there is left out."""
    found = {}
    for path in paths:
        with contextlib.suppress(OSError):
            there = about(path)
            found[path] = file_identity(there.mode, there.device, there.inode, there.special)
    return found


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
    handed = tuple(
        PlannedFile(
            str(file["path"]), Access(file["access"]), bool(file.get("disk")), str(file.get("identity", ""))
        )
        for file in data["handed"]
    )
    return Planned(**{**values, "handed": handed})


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
