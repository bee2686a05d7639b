"""What a process really has, from /proc (proc(5)): the audit's eyes.

Nothing here trusts what it reads. Names come from whoever made the files; each answer is bounded, and a part that
can't be looked at is said to be so, with the reason, while the rest goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from wirt.plan.observed import HomeFile, Observed, Planned
from wirt.sandbox import observe_files, observe_groups, observe_home, observe_rights, record
from wirt.sandbox.observe_rights import started_ticks as ticks_of

T = TypeVar("T")

PARTS: dict[str, Callable[[int], Any]] = {
    "program": observe_rights.program,
    "parents": observe_rights.parents,
    "rights": observe_rights.rights,
    "namespaces": observe_rights.namespaces,
    "limits": observe_rights.limits,
    "environment": observe_rights.environment,
    "secrets": observe_rights.secrets,
    "mounts": observe_files.mounts,
    "listening": observe_files.listening,
    "network_devices": observe_files.network_devices,
    "control_groups": observe_groups.control_groups,
}
"""How each field of :class:`Observed` is found out; each raises ``OSError`` where it has no right."""


class ProcObserver:
    """Adapter of :class:`wirt.ports.audit.Observer`."""

    def observe(self, pid: int, started_ticks: int | None, known: Sequence[str] = ()) -> Observed | None:
        if not _same(pid, started_ticks):
            return None
        unseen: dict[str, str] = {}
        found: dict[str, Any] = {name: _look(name, unseen, part, pid) for name, part in PARTS.items()}
        files = _look("files", unseen, observe_files.files, pid, known)
        sockets = _look("sockets", unseen, observe_files.sockets, pid, files) if files is not None else None
        if files is None:
            unseen["sockets"] = unseen["files"]
        pattern = _look("core_pattern", unseen, _core_pattern)
        if not _same(pid, started_ticks):
            return None
        found["parents"] = found["parents"] or ()
        return Observed(pid, files=files, sockets=sockets, core_pattern=pattern, unseen=unseen, **found)

    def planned(self, directory: Path) -> Planned | None:
        return record.read(directory)

    def home(self, directories: Sequence[str]) -> tuple[HomeFile, ...]:
        return observe_home.open_to_others(directories)


def _same(pid: int, started_ticks: int | None) -> bool:
    """Whether it lives, and is that process and not a later one with its number."""
    now = ticks_of(pid)
    return now is not None and (started_ticks is None or now == started_ticks)


def _look(name: str, unseen: dict[str, str], part: Callable[..., T], *arguments: Any) -> T | None:
    try:
        return part(*arguments)
    except OSError as error:
        unseen[name] = error.strerror or str(error)
    except (ValueError, IndexError, KeyError) as error:
        unseen[name] = f"it can't be understood: {type(error).__name__}"
    return None


def _core_pattern() -> str:
    return os.fsdecode(Path("/proc/sys/kernel/core_pattern").read_bytes()).strip()
