"""No two live runs share a uid."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wirt.model.errors import Shortage
from wirt.plan.jail import Uids
from wirt.sandbox.uids import UidClaims


def run(place: Path, name: str) -> Path:
    path = place / name
    path.mkdir()
    return path


def test_a_run_gets_the_uid_of_its_number_and_the_next_free_one_if_another_has_it(tmp_path: Path) -> None:
    claims = UidClaims(tmp_path / "claims")
    assert claims.take(Uids(1000, 3, 1), run(tmp_path, "a")) == 1001
    assert claims.take(Uids(1000, 3, 1), run(tmp_path, "b")) == 1002
    assert UidClaims(tmp_path / "claims").take(Uids(1000, 3, 1), run(tmp_path, "c")) == 1000


def test_when_all_are_taken_it_says_so(tmp_path: Path) -> None:
    claims = UidClaims(tmp_path / "claims")
    claims.take(Uids(1000, 1, 0), run(tmp_path, "a"))
    with pytest.raises(Shortage, match="all 1 uids"):
        claims.take(Uids(1000, 1, 0), run(tmp_path, "b"))


def test_a_uid_is_free_again_when_its_run_is_released_or_gone(tmp_path: Path) -> None:
    claims, uids = UidClaims(tmp_path / "claims"), Uids(1000, 1, 0)
    first = run(tmp_path, "a")
    claims.take(uids, first)
    claims.release(first)
    second = run(tmp_path, "b")
    assert claims.take(uids, second) == 1000
    claims.release(first)
    with pytest.raises(Shortage):
        claims.take(uids, run(tmp_path, "c"))
    second.rmdir()
    assert claims.take(uids, tmp_path / "c") == 1000


def test_many_at_once_get_one_each(tmp_path: Path) -> None:
    claims, uids = UidClaims(tmp_path / "claims"), Uids(1000, 40, 3)
    runs = [run(tmp_path, str(number)) for number in range(30)]
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda path: claims.take(uids, path), runs))
    assert len(set(taken)) == 30


def test_a_place_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Shortage, match="file"):
        UidClaims(tmp_path / "file" / "claims").take(Uids(1000, 1, 0), tmp_path)
