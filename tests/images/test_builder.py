"""The image port: a build runs in a process of its own and can be cancelled."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from pathlib import Path

import pytest

from wirt.images.builder import Images
from wirt.model.errors import ImageBuildFailed, NotFound


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let ``body`` (shell) be what builds."""
    script = tmp_path / "worker"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(script))


async def test_an_unknown_recipe_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="tiny"):
        await Images(tmp_path, tmp_path).build("huge", lambda what, share: None)


async def test_progress_and_the_reason_of_a_failure_come_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """echo '{"what": "half", "share": 0.5}'; echo '{"error": "no gcc", "hint": "install it"}'; exit 1"""
    stand_in(tmp_path, monkeypatch, body)
    told: list[tuple[str, float]] = []
    with pytest.raises(ImageBuildFailed, match="no gcc") as caught:
        await Images(tmp_path, tmp_path).build("tiny", lambda what, share: told.append((what, share)))
    assert told == [("half", 0.5)]
    assert caught.value.hint == "install it"


async def test_a_worker_that_dies_is_an_error_not_a_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "kill -9 $$")
    with pytest.raises(ImageBuildFailed, match="without a word"):
        await Images(tmp_path, tmp_path).build("tiny", lambda what, share: None)


async def test_cancelling_ends_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    building = asyncio.create_task(Images(tmp_path, tmp_path).build("tiny", lambda what, share: None))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        await asyncio.sleep(0.01)
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
