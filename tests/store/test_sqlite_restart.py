"""What the SQLite store holds across restarts."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from wirt.model.errors import Compacted, NotFound
from wirt.ports.store import Delete, Put
from wirt.ports.virtual_clock import VirtualClock
from wirt.store import SqliteStore, open_sqlite_store


async def restarted(store: SqliteStore, path: Path, clock: VirtualClock) -> SqliteStore:
    await store.close()
    return await open_sqlite_store(path, clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


async def test_entries_and_revision_are_as_they_were(path: Path, clock: VirtualClock) -> None:
    store = await open_sqlite_store(path, clock)
    await store.commit(Put("a", b"1"), Put("b", b""), Put("c", b"\x00\xff"))
    await store.commit(Put("a", b"2"), Delete("b"))
    before = await store.list("")

    store = await restarted(store, path, clock)

    assert await store.list("") == before
    assert await store.commit(Put("d", b"")) == before.revision + 1
    await store.close()


async def test_a_watch_goes_on_from_a_revision_before_the_restart(path: Path, clock: VirtualClock) -> None:
    store = await open_sqlite_store(path, clock)
    await store.commit(Put("b", b"1"), Put("a", b"1"))
    await store.commit(Delete("a"))
    watch = store.watch("", 0)
    before = [await anext(watch), await anext(watch)]

    store = await restarted(store, path, clock)

    watch = store.watch("", 0)
    assert [await anext(watch), await anext(watch)] == before
    await store.close()


async def test_compaction_outlives_a_restart(path: Path, clock: VirtualClock) -> None:
    store = await open_sqlite_store(path, clock)
    for n in range(5):
        await store.commit(Put("a", b"%d" % n), Put(f"k{n}", b""))
    await store.commit(Delete("k0"))
    await store.compact(7)
    await store.commit(Delete("k1"), Put("a", b"last"))
    before = await store.list("")

    store = await restarted(store, path, clock)

    assert await store.list("") == before
    with pytest.raises(Compacted):
        await anext(store.watch("", 6))
    assert [change.key for change in await anext(store.watch("", 7))] == ["a", "k1"]
    await store.close()


async def test_a_lease_gets_its_full_time_again(path: Path, clock: VirtualClock) -> None:
    store = await open_sqlite_store(path, clock)
    lease = await store.grant(10)
    await store.commit(Put("a", b"", lease=lease))
    await clock.advance(9)

    store = await restarted(store, path, clock)
    await clock.advance(9)
    await store.commit()
    assert await store.get("a") is not None

    await clock.advance(1)
    await store.commit()  # waits for what is in the queue before it
    assert await store.get("a") is None
    await store.close()


async def test_an_ended_lease_stays_ended_and_its_number_is_not_used_again(
    path: Path, clock: VirtualClock
) -> None:
    store = await open_sqlite_store(path, clock)
    lease = await store.grant(10)
    await store.commit(Put("a", b"", lease=lease))
    await store.revoke(lease)

    store = await restarted(store, path, clock)

    with pytest.raises(NotFound):
        await store.keep_alive(lease)
    assert await store.grant(10) != lease
    await store.close()


async def test_only_the_owner_may_read_the_file(path: Path, clock: VirtualClock) -> None:
    store = await open_sqlite_store(path, clock)
    await store.commit(Put("secret", b""))

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db.lock": 0o600}
    await store.close()


@pytest.mark.parametrize("name", ["with space?&#%41.db", "ümläut.db"])
async def test_any_file_name_will_do(tmp_path: Path, clock: VirtualClock, name: str) -> None:
    store = await open_sqlite_store(tmp_path / name, clock)
    await store.commit(Put("a", b""))

    store = await restarted(store, tmp_path / name, clock)

    assert await store.get("a") is not None
    assert (tmp_path / name).exists()
    await store.close()


async def test_an_opening_that_is_cancelled_leaves_nothing_locked(path: Path, clock: VirtualClock) -> None:
    for turns in range(5):
        opening = asyncio.create_task(open_sqlite_store(path, clock))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait({opening})
        if not opening.cancelled():
            # On a quick machine it was open before it could be cancelled.
            await opening.result().close()

        await (await open_sqlite_store(path, clock)).close()
