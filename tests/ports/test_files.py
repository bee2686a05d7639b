"""A file whose server has gone keeps nobody but who needs it, and nobody for ever."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from wirt.model.errors import Unavailable
from wirt.ports import files
from wirt.ports.files import about, opened, touch


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Who waits for it waits for a server; set, it is back."""
    monkeypatch.setattr(files, "TOUCH_S", 0.1)
    return threading.Event()


async def until_used_again(path: Path) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await touch(path, list)
                return
            except Unavailable:
                await asyncio.sleep(0.01)


async def test_a_touch_that_does_not_come_back_fails_and_others_there_at_once_until_it_does(
    gone: threading.Event, tmp_path: Path
) -> None:
    there, elsewhere = tmp_path / "far" / "a", tmp_path / "near" / "a"
    with pytest.raises(Unavailable, match="far does not answer"):
        await touch(there, gone.wait)
    before = threading.active_count()
    for _ in range(100):
        with pytest.raises(Unavailable, match="does not answer"):
            await touch(there.with_name("b"), gone.wait)
    assert threading.active_count() <= before, "threads pile up"
    assert await touch(elsewhere, list) == []
    gone.set()
    await until_used_again(there)


async def test_any_number_of_them_leaves_the_threads_that_all_share_alone(
    gone: threading.Event, tmp_path: Path
) -> None:
    waiting = [touch(tmp_path / str(number) / "a", gone.wait) for number in range(64)]
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    async with asyncio.timeout(10):
        assert await asyncio.to_thread(list) == []
    gone.set()
    for number in range(64):
        await until_used_again(tmp_path / str(number) / "a")


async def test_a_file_that_is_opened_too_late_is_closed(
    gone: threading.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, made = tmp_path / "a", os.open, []

    def slow(*words: object) -> int:
        gone.wait()
        made.append(real(*words))  # type: ignore[arg-type]
        return made[-1]

    path.touch()
    monkeypatch.setattr(os, "open", slow)
    with pytest.raises(Unavailable):
        async with opened(str(path), os.O_RDONLY):
            pass
    gone.set()
    await until_used_again(path)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(made[0])


async def test_what_a_touch_raises_is_raised_and_a_descriptor_is_closed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await touch(tmp_path / "a", os.stat, tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        async with opened(str(tmp_path / "a"), os.O_RDONLY):
            pass
    (tmp_path / "a").touch()
    async with opened(str(tmp_path / "a"), os.O_RDONLY) as descriptor:
        os.fstat(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.parametrize("path", ["/dev/null", "/proc/self/fd/0", "/", __file__])
def test_what_is_known_of_a_file_is_what_stat_says(path: str) -> None:
    found, said = about(path), Path(path).stat()
    assert (found.mode, found.device, found.inode, found.special) == (
        said.st_mode,
        said.st_dev,
        said.st_ino,
        said.st_rdev,
    )
    with pytest.raises(FileNotFoundError):
        about("/there/is/none")
