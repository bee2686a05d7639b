"""What a host leaves: what its store still knows of domains, and the places of its runs."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path

from wirt.model.errors import Unavailable
from wirt.operations import records
from wirt.ports.clock import SystemClock
from wirt.sandbox import HostSandbox
from wirt.store.sqlite import open_sqlite_store

OF_DOMAINS = (records.DOMAINS, records.NAMES, records.INCARNATIONS)


def recorded(store: Path, scratch: Path) -> list[str]:
    """The keys of all domains, names and runs, read from a copy: a daemon may have the store open."""
    if not store.exists():
        return []
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        for path in store.parent.glob(f"{store.name}*"):
            if path.suffix != ".lock":
                shutil.copyfile(path, Path(directory, path.name))
        keys = asyncio.run(_keys(Path(directory, store.name)))
    return [key for key in keys if key.startswith(OF_DOMAINS)]


def clear_runs(runs: Path) -> None:
    """Of a host whose processes are gone: file systems and control groups of runs that were never cleared."""
    for directory in runs.iterdir() if runs.is_dir() else ():
        with contextlib.suppress(Unavailable):
            asyncio.run(HostSandbox.here().clear(directory))


async def _keys(path: Path) -> list[str]:
    store = await open_sqlite_store(path, SystemClock())
    try:
        return [entry.key for entry in (await store.list(records.PREFIX)).entries]
    finally:
        await store.close()
