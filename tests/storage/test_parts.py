"""What several hosts see in one directory: nobody takes away what another one works on."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.synchronize import Event
from pathlib import Path

from wirt.storage.media import PART
from wirt.storage.parts import Work, sweep

SPAWN = multiprocessing.get_context("spawn")
WAIT_S = 60.0


def part_in(directory: Path) -> Path:
    return directory / f".web{PART}0123"


def work_on(path: Path, begun: Event) -> None:
    """Another host's daemon, which is killed in the middle."""
    Work(path).begin()
    begun.set()
    begun.wait()
    multiprocessing.Event().wait()


def test_a_part_is_left_alone_while_another_process_works_on_it_and_goes_once_that_is_dead(tmp_path: Path) -> None:
    part, begun = part_in(tmp_path), SPAWN.Event()
    other = SPAWN.Process(target=work_on, args=(part, begun))
    other.start()
    try:
        assert begun.wait(WAIT_S)
        assert sweep(tmp_path.iterdir()) == ()
        assert part.exists()
    finally:
        other.kill()
        other.join(WAIT_S)
    assert sweep(tmp_path.iterdir()) == (part,)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_work_that_is_over(tmp_path: Path) -> None:
    work = Work(part_in(tmp_path))
    work.begin()
    os.link(work.path, tmp_path / "web")
    work.end()
    assert [path.name for path in tmp_path.iterdir()] == ["web"]


def test_work_whose_maker_has_gone_does_not_begin(tmp_path: Path) -> None:
    work = Work(part_in(tmp_path))
    work.end()
    work.begin()
    assert list(tmp_path.iterdir()) == []


def test_what_an_older_wirt_left_and_a_lock_without_a_part_go_too(tmp_path: Path) -> None:
    part = part_in(tmp_path)
    part.touch()
    assert sweep(tmp_path.iterdir()) == (part,)
    (tmp_path / f"{part.name}.busy").touch()
    assert sweep(tmp_path.iterdir()) == ()
    assert list(tmp_path.iterdir()) == []
