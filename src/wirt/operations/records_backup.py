"""How the store writes down where backups are. What is in such a place, the place itself says."""

from __future__ import annotations

import json

from wirt.model.errors import CorruptState
from wirt.operations.records import PREFIX
from wirt.ports.store import Entry

PLACES = f"{PREFIX}/backup-places"
VERSION = 1


def write_places(paths: tuple[str, ...]) -> bytes:
    return json.dumps({"version": VERSION, "paths": list(paths)}).encode()


def read_places(entry: Entry | None) -> tuple[str, ...]:
    if entry is None:
        return ()
    try:
        said = json.loads(entry.value)
        if said["version"] != VERSION:
            raise ValueError(f"version {said['version']}")
        return tuple(str(path) for path in said["paths"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptState(f"the record {entry.key} can't be read: {error}") from error
