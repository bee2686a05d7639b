"""The worlds that the contract suite is run in. What needs a device mapper or NFS runs in the test host."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from .kinds import THIN, a_group, an_export, run
from .worlds import DirectoryWorld, FakeWorld, LvmWorld, NfsWorld, World

THERE = (pytest.mark.testhost, pytest.mark.root)


@pytest.fixture(
    params=[
        "fake",
        "dir",
        pytest.param("lvm", marks=THERE),
        pytest.param("lvmthin", marks=THERE),
        pytest.param("nfs", marks=THERE),
    ]
)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld()
    elif request.param == "dir":
        yield DirectoryWorld(tmp_path / "pool")
    elif request.param == "nfs":
        nfs = await NfsWorld.open(request.getfixturevalue("export"), tmp_path)
        yield nfs
        await nfs.pool.close()
    else:
        group = request.getfixturevalue("group")
        yield LvmWorld(group, THIN if request.param == "lvmthin" else None)
        names = run("lvs", "--noheadings", "-o", "lv_name", group).split()
        for name in names:
            if name != THIN:
                run("lvremove", "-q", "-y", f"{group}/{name}")


@pytest.fixture(scope="module")
def group() -> Iterator[str]:
    with a_group() as name:
        yield name


@pytest.fixture
def export(tmp_path: Path) -> Iterator[str]:
    shared = tmp_path / "shared"
    shared.mkdir()
    with an_export(shared) as source:
        yield source
