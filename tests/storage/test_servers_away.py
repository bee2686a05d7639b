"""What lies on a server that has gone hides nothing of what lies elsewhere."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from wirt.storage import host
from wirt.storage.host import HostStorage


async def test_a_server_that_is_away_hides_only_what_lies_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "IDENTIFY_S", 0.2)
    storage, gate = HostStorage(tmp_path / "mounts"), threading.Event()
    near, far = tmp_path / "near", tmp_path / "mounts" / "nfs" / "far"
    far.parent.mkdir(parents=True)
    for path in (near, far):
        path.touch()
    at_once = os.stat

    def stat(path: str, **more: object) -> os.stat_result:
        if str(path) == str(far):
            gate.wait(60)
        return at_once(path)

    monkeypatch.setattr(os, "stat", stat)
    try:
        both = (str(near), str(far))
        assert set(await storage.identify(both)) == {str(near)}
        assert set(await storage.stamps(both)) == {str(near)}
        assert set(await storage.media_of(both)) >= {str(near)}
        assert await storage.lay_proof(str(near), "token")
        assert await storage.sees_proof(str(near), "token")
    finally:
        gate.set()
    async with asyncio.timeout(20):
        while set(await storage.identify(both)) != set(both):
            await asyncio.sleep(0.01)
