"""The worlds in which the contract must hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from .sshd import Sshd, an_sshd
from .worlds import World, fake_world, ssh_world, tls_world


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with an_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(params=["tls", "ssh", "fake", "fake-ssh"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "tls":
        made = tls_world(tmp_path)
    elif request.param == "ssh":
        made = ssh_world(tmp_path, request.getfixturevalue("sshd"))
    else:
        made = fake_world(through_ssh=request.param == "fake-ssh")
    async with made as world:
        yield world
