"""``world`` is each adapter's in turn; ``namespace`` is for what only the real one has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest

from wirt.network import DefaultBridge, HostNetwork
from wirt.ports.virtual_clock import VirtualClock

from .namespace import own_namespace
from .worlds import FakeWorld, HostWorld, World


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def namespace() -> Iterator[None]:
    with own_namespace():
        yield


@pytest.fixture
def network(namespace: None, clock: VirtualClock) -> HostNetwork:
    return HostNetwork(DefaultBridge(), clock)


@pytest.fixture(params=["fake", pytest.param("host", marks=pytest.mark.root)])
async def world(request: pytest.FixtureRequest, clock: VirtualClock) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld(clock)
        return
    with own_namespace(), ExitStack() as cleanup:
        host = HostWorld(clock, cleanup)
        cleanup.callback(host.close)
        yield host
