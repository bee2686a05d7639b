"""One contract, every adapter: ``store`` is each of them in turn.

An adapter joins by a name in ``ADAPTERS``, a way to be opened, and a way to let its time pass.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from wirt.ports.store import Store
from wirt.ports.virtual_clock import VirtualClock
from wirt.store import MemoryStore, open_sqlite_store

ADAPTERS = ["memory", "sqlite"]

PassTime = Callable[[float], Awaitable[None]]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=ADAPTERS)
async def store(request: pytest.FixtureRequest, clock: VirtualClock, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store = (
        MemoryStore(clock) if request.param == "memory" else await open_sqlite_store(tmp_path / "state.db", clock)
    )
    yield opened
    await opened.close()


@pytest.fixture
def pass_time(clock: VirtualClock) -> PassTime:
    """Let that many seconds go by for the store."""
    return clock.advance
