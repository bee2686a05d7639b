"""What is written down of the labs of this machine, before anything of one is made: so ``down`` finds all of it.

In a place that a boot empties, as it does away with namespaces.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wirt.lab.errors import LabError
from wirt.lab.plan import LabPlan, lab_plan

PLACE = Path("/run/wirt-labs")


def write(lab: LabPlan) -> None:
    document = {"version": 1, "name": lab.name, "directory": str(lab.directory), "hosts": len(lab.hosts)}
    new = PLACE / f".{lab.name}.new"
    new.write_text(json.dumps(document))
    new.replace(_file(lab.name))


def read(name: str) -> LabPlan | None:
    lab_plan(name, 1, PLACE)  # the name is no path
    try:
        found = json.loads(_file(name).read_text())
        return lab_plan(found["name"], found["hosts"], Path(found["directory"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(f"{_file(name)} is no record of a lab: {error}") from error


def names() -> list[str]:
    return sorted(path.stem for path in PLACE.glob("*.json"))


def forget(name: str) -> None:
    _file(name).unlink(missing_ok=True)


@contextmanager
def locked() -> Iterator[None]:
    """One lab is made or removed at a time."""
    PLACE.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(PLACE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _file(name: str) -> Path:
    return PLACE / f"{name}.json"
