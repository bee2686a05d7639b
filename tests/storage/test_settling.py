"""That nobody is told that a copy is done before it is on the disk. What a full disk does is tried in the test
host (tests/system/test_storage_full.py)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wirt.model.errors import NotFound, Shortage, Unavailable
from wirt.storage.settling import settled


def stand_in(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """For sync(1)."""
    program = directory / "bin" / "sync"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("words", "error"),
    [("No space left on device", Shortage), ("Input/output error", Unavailable)],
)
async def test_what_could_not_be_written_back_is_an_error_of_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, error: type[Exception]
) -> None:
    image = tmp_path / "image"
    image.touch()
    stand_in(tmp_path, monkeypatch, f'echo "sync: error syncing $1: {words}" >&2; exit 1')
    with pytest.raises(error, match=f"it can't be copied: .*{words}"):
        async with settled(str(image), "it can't be copied"):
            pass


async def test_it_is_asked_for_after_all_is_written_and_not_if_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, asked = tmp_path / "image", tmp_path / "asked"
    image.touch()
    stand_in(tmp_path, monkeypatch, f'cat "$1" > {asked}')
    async with settled(str(image), "it can't be copied"):
        image.write_text("all")
    assert asked.read_text() == "all"
    asked.unlink()
    with pytest.raises(Shortage):
        async with settled(str(image), "it can't be copied"):
            raise Shortage("full")
    assert not asked.exists()


async def test_what_is_not_there_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="it can't be copied"):
        async with settled(str(tmp_path / "image"), "it can't be copied"):
            pass
