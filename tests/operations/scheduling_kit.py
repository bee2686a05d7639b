"""A host in memory, and guests on it: for tests of what shares out its CPUs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wirt.model.domain import Domain

from .kit import SimulatedHost


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[SimulatedHost]:
    made = SimulatedHost(tmp_path)
    await made.boot()
    yield made
    await made.stop()


async def started(host: SimulatedHost, name: str = "web", more: str = "") -> Domain:
    """A domain that runs. ``more``: lines of its xl.cfg."""
    await host.create(more, name=name)
    return host.environment.domains.find(name)
