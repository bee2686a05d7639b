"""What a host's store still knows of domains."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from wirt.operations import records
from wirt.ports.clock import SystemClock
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


async def _keys(path: Path) -> list[str]:
    store = await open_sqlite_store(path, SystemClock())
    try:
        return [entry.key for entry in (await store.list(records.PREFIX)).entries]
    finally:
        await store.close()
