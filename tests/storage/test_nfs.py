"""An NFS server that goes away keeps nobody waiting but those who use it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from wirt.model.errors import BadInput, Unavailable
from wirt.model.storage import PoolConfig, PoolType
from wirt.storage.nfs import is_mounted, open_nfs
from wirt.storage.waiting import Patient

from .kinds import no_server


def nfs(source: str | None, options: str = "") -> PoolConfig:
    return PoolConfig("far", PoolType.NFS, "", source, options)


@pytest.mark.parametrize("source", [None, "", "server", "server:export", ":/export"])
async def test_a_source_that_can_not_be_is_refused(source: str | None, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no export"):
        await open_nfs(nfs(source), tmp_path)


async def test_a_server_that_is_not_there_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="can't be reached at port 1"):
        await open_nfs(nfs("127.0.0.1:/export", "port=1"), tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_call_that_does_not_come_back_fails_and_the_next_ones_at_once_until_it_does() -> None:
    patient, gate = Patient("the server", deadline_s=0.1), threading.Event()
    with pytest.raises(Unavailable, match="does not answer"):
        await patient(gate.wait)
    with pytest.raises(Unavailable, match="does not answer"):
        await patient(list)
    gate.set()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await patient(list) == []
                return
            except Unavailable:
                await asyncio.sleep(0.01)


async def test_what_a_call_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await Patient("the server")(lambda: 1 // 0)


@pytest.mark.testhost
@pytest.mark.root
async def test_a_server_that_vanishes_makes_its_pool_unavailable(export: str, tmp_path: Path) -> None:
    pool = await open_nfs(nfs(export), tmp_path / "mounts")
    assert pool._patient is not None
    pool._patient._deadline_s = 5.0
    assert await pool.volumes() == ()
    with no_server():
        with pytest.raises(Unavailable, match="does not answer"):
            await pool.usage()
        with pytest.raises(Unavailable, match="does not answer"):
            await pool.usage()
    async with asyncio.timeout(200):
        while True:
            try:
                await pool.usage()
                break
            except Unavailable:
                await asyncio.sleep(1)
    await pool.close()
    assert not is_mounted(tmp_path / "mounts" / "far")
