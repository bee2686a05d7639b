"""The worlds in which the contract must hold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .worlds import World, tls_world


@pytest.fixture(params=["tls"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with tls_world(tmp_path) as made:
        yield made
