"""A file that can't be used is named, explained, and left byte for byte as it was."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from wirt.model.errors import CorruptState
from wirt.ports.store import Delete, Put, Snapshot
from wirt.ports.virtual_clock import VirtualClock
from wirt.store import open_sqlite_store


@pytest.fixture
async def intact(tmp_path: Path, clock: VirtualClock) -> Path:
    """A store that was closed, with some pages of everything."""
    path = tmp_path / "state.db"
    store = await open_sqlite_store(path, clock)
    await store.grant(10)
    for n in range(40):
        await store.commit(Put(f"domains/{n}", random.Random(n).randbytes(300)), Put("a", b"%d" % n))
    await store.compact(20)
    await store.commit(Delete("a"))
    await store.close()
    return path


@pytest.fixture
async def unclean(tmp_path: Path, clock: VirtualClock) -> Path:
    """A store whose process was killed: its log has not been merged."""
    (tmp_path / "killed").mkdir()
    store = await open_sqlite_store(tmp_path / "state.db", clock)
    for n in range(10):
        await store.commit(Put("a", b"%d" % n))
    for file in ("state.db", "state.db-wal"):
        shutil.copy(tmp_path / file, tmp_path / "killed" / file)
    await store.close()
    return tmp_path / "killed" / "state.db"


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}


async def assert_refused(path: Path, clock: VirtualClock, *complaint: str) -> None:
    before = files(path)

    with pytest.raises(CorruptState) as failure:
        await open_sqlite_store(path, clock)

    after = files(path)
    after.pop(path.name + ".lock", None)
    before.pop(path.name + ".lock", None)
    assert after == before
    assert str(path) in failure.value.message
    assert failure.value.hint is not None
    assert "backup" in failure.value.hint
    for part in complaint:
        assert part in str(failure.value)


def text(path: Path) -> None:
    path.write_text("name = 'guest'\n" * 1000)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def page_of_zeros(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[2 * 4096 : 3 * 4096] = bytes(4096)
    path.write_bytes(content)


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")


def changed_by(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return change


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (text, "not a database"),
        (emptied, "empty"),
        (cut_short, ""),
        (page_of_zeros, ""),
        (foreign, "not one of wirt's"),
        (changed_by("PRAGMA user_version = 99"), "newer wirt (schema 99"),
        (changed_by("PRAGMA user_version = 0"), "schema 0"),
        (changed_by("DROP TABLE state"), "no such table"),
        (changed_by("DELETE FROM state"), "which revision"),
        (changed_by("UPDATE changes SET value = x'00' WHERE id = 60"), "checksum"),
        (changed_by("DELETE FROM changes WHERE revision = 30"), "31 follows 29"),
        (changed_by("UPDATE state SET revision = 1000"), "end at"),
    ],
)
async def test_a_damaged_or_foreign_file_is_left_as_it_is(
    intact: Path, clock: VirtualClock, damage: Callable[[Path], None], complaint: str
) -> None:
    damage(intact)

    await assert_refused(intact, clock, complaint)


async def test_a_newer_store_whose_process_was_killed_keeps_its_log(unclean: Path, clock: VirtualClock) -> None:
    connection = sqlite3.connect(unclean)
    connection.execute("PRAGMA user_version = 99")
    killed = unclean.parent / "again"
    killed.mkdir()
    for file in ("state.db", "state.db-wal"):
        shutil.copy(unclean.parent / file, killed / file)
    connection.close()
    assert (killed / "state.db-wal").stat().st_size

    await assert_refused(killed / "state.db", clock, "newer wirt", "install the newer wirt")


async def test_a_log_whose_store_is_gone_is_kept(unclean: Path, clock: VirtualClock) -> None:
    unclean.unlink()

    await assert_refused(unclean, clock, "not there", "-wal")


async def test_a_log_whose_store_is_empty_is_kept(unclean: Path, clock: VirtualClock) -> None:
    unclean.write_bytes(b"")

    await assert_refused(unclean, clock, "empty")


async def test_a_directory_is_not_a_store(tmp_path: Path, clock: VirtualClock) -> None:
    (tmp_path / "state.db").mkdir()

    await assert_refused(tmp_path / "state.db", clock, "not a file")


async def test_a_store_whose_process_was_killed_is_whole(unclean: Path, clock: VirtualClock) -> None:
    store = await open_sqlite_store(unclean, clock)

    entry = await store.get("a")

    assert entry is not None
    assert (entry.value, entry.version) == (b"9", 10)
    await store.close()
    assert set(files(unclean)) == {"state.db", "state.db.lock"}


async def content(path: Path, clock: VirtualClock) -> Snapshot:
    store = await open_sqlite_store(path, clock)
    try:
        return await store.list("")
    finally:
        await store.close()


async def test_no_damage_goes_unnoticed_that_would_change_an_entry(intact: Path, clock: VirtualClock) -> None:
    expected = await content(intact, clock)
    original = intact.read_bytes()
    chance = random.Random(20)
    refused = 0
    for _ in range(150):
        damaged = bytearray(original)
        position = chance.randrange(len(damaged))
        damaged[position] ^= 1 << chance.randrange(8)
        intact.write_bytes(damaged)
        try:
            assert await content(intact, clock) == expected, f"a changed byte at {position} was believed"
        except CorruptState:
            refused += 1
            assert intact.read_bytes() == damaged
    assert refused > 50
