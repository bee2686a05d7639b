"""What every store promises about reading, transactions and closing (``ports.store``)."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from wirt.model.errors import BadInput, NotFound, StoreClosed, StoreConflict
from wirt.ports.store import Compare, Delete, Entry, Put, Snapshot, Store


async def test_a_new_store_is_empty_and_at_revision_1(store: Store) -> None:
    assert await store.list("") == Snapshot(1, ())
    assert await store.get("domains/a") is None


async def test_an_entry_tells_when_it_was_created_and_modified(store: Store) -> None:
    first = await store.commit(Put("a", b"1"))
    second = await store.commit(Put("a", b"2"))

    assert second == first + 1
    assert await store.get("a") == Entry("a", b"2", created=first, modified=second, version=2)


async def test_a_deleted_key_starts_anew(store: Store) -> None:
    await store.commit(Put("a", b"1"))
    await store.commit(Put("a", b"2"))
    await store.commit(Delete("a"))
    assert await store.get("a") is None

    again = await store.commit(Put("a", b"3"))

    assert await store.get("a") == Entry("a", b"3", created=again, modified=again, version=1)


async def test_all_writes_of_a_transaction_share_one_revision(store: Store) -> None:
    await store.commit(Put("old", b""))

    revision = await store.commit(Put("b", b"1"), Delete("old"), Put("a", b"2"))

    snapshot = await store.list("")
    assert snapshot.revision == revision
    assert [(e.key, e.modified) for e in snapshot.entries] == [("a", revision), ("b", revision)]


async def test_list_gives_what_is_under_the_prefix_sorted_by_key(store: Store) -> None:
    keys = ["vm/b", "vm/a", "vmx/a", "vm", "w/ä", "w/𝄞", "w/�", "vm/a/b"]
    await store.commit(*(Put(key, b"") for key in keys))

    async def listed(prefix: str) -> list[str]:
        return [entry.key for entry in (await store.list(prefix)).entries]

    assert await listed("vm/") == ["vm/a", "vm/a/b", "vm/b"]
    assert await listed("vm") == ["vm", "vm/a", "vm/a/b", "vm/b", "vmx/a"]
    assert await listed("w/") == ["w/ä", "w/�", "w/𝄞"]
    assert await listed("nothing") == []
    assert await listed("") == sorted(keys)


async def test_a_transaction_whose_comparisons_hold_is_applied(store: Store) -> None:
    first = await store.commit(Put("a", b"1"), when=(Compare("a", 0),))

    second = await store.commit(Put("a", b"2"), when=(Compare("a", first), Compare("b", 0)))

    entry = await store.get("a")
    assert entry is not None
    assert (entry.value, entry.modified) == (b"2", second)


@pytest.mark.parametrize(
    ("key", "modified"), [("a", 0), ("a", 99), ("missing", 1)], ids=["exists", "changed", "gone"]
)
async def test_a_failed_comparison_writes_nothing(store: Store, key: str, modified: int) -> None:
    revision = await store.commit(Put("a", b"1"), Put("b", b"1"))

    with pytest.raises(StoreConflict) as failure:
        await store.commit(Put("a", b"2"), Delete("b"), when=(Compare("b", revision), Compare(key, modified)))

    assert failure.value.key == key
    assert key in failure.value.message
    after = await store.list("")
    assert after.revision == revision
    assert [entry.value for entry in after.entries] == [b"1", b"1"]


async def test_comparisons_alone_are_a_question(store: Store) -> None:
    revision = await store.commit(Put("a", b""))

    assert await store.commit(when=(Compare("a", revision),)) == revision
    with pytest.raises(StoreConflict):
        await store.commit(when=(Compare("a", 0),))


async def test_a_transaction_that_changes_nothing_leaves_the_revision(store: Store) -> None:
    revision = await store.commit(Put("a", b""))

    assert await store.commit() == revision
    assert await store.commit(Delete("b"), Delete("c")) == revision
    assert (await store.list("")).revision == revision


async def test_putting_the_same_value_again_is_a_change(store: Store) -> None:
    revision = await store.commit(Put("a", b"1"))

    assert await store.commit(Put("a", b"1")) == revision + 1


@pytest.mark.parametrize("value", [b"", b"\x00", bytes(range(256)), b"x" * (1 << 20)], ids=len)
async def test_a_value_comes_back_as_it_went_in(store: Store, value: bytes) -> None:
    await store.commit(Put("a", value))

    entry = await store.get("a")

    assert entry is not None
    assert entry.value == value


BAD_KEYS = ["", "/", "/a", "a/", "a//b", "..", "a/../b", "a\x00b", "a\nb", "\ud800", "k" * 513, "ä" * 257]


@pytest.mark.parametrize("key", BAD_KEYS)
async def test_an_impossible_key_is_refused_everywhere(store: Store, key: str) -> None:
    with pytest.raises(BadInput):
        await store.get(key)
    with pytest.raises(BadInput):
        await store.commit(Put("fine", b""), Put(key, b""))
    with pytest.raises(BadInput):
        await store.commit(Put("fine", b""), Delete(key))
    with pytest.raises(BadInput):
        await store.commit(Put("fine", b""), when=(Compare(key, 0),))
    assert await store.list("") == Snapshot(1, ())


@pytest.mark.parametrize("key", ["k" * 512, "ä" * 256, "a/...", "a b/ü", ".", "%_*?'\""])
async def test_an_unusual_key_is_accepted(store: Store, key: str) -> None:
    await store.commit(Put(key, b"1"))

    assert [entry.key for entry in (await store.list("")).entries] == [key]


@pytest.mark.parametrize("prefix", ["/", "/domains", "a//", "../a", "a\x00", "\ud800", "k" * 513])
async def test_a_prefix_of_no_possible_key_is_refused(store: Store, prefix: str) -> None:
    with pytest.raises(BadInput):
        await store.list(prefix)
    with pytest.raises(BadInput):
        await anext(store.watch(prefix, 0))


@pytest.mark.parametrize(
    "writes",
    [
        (Put("a", b"1"), Put("a", b"2")),
        (Put("a", b"1"), Delete("a")),
        (Delete("a"), Delete("a")),
        (Put("a", b"x" * ((1 << 20) + 1)),),
        (Put("a", b"x" * (1 << 19)), Put("b", b"x" * ((1 << 19) + 1))),
        tuple(Put(f"k{n}", b"") for n in range(129)),
    ],
    ids=["put twice", "put and delete", "delete twice", "large value", "large in all", "129 writes"],
)
async def test_an_impossible_transaction_is_refused(store: Store, writes: tuple[Put | Delete, ...]) -> None:
    with pytest.raises(BadInput):
        await store.commit(*writes)
    assert await store.list("") == Snapshot(1, ())


async def test_a_transaction_can_be_as_large_as_promised(store: Store) -> None:
    compares = tuple(Compare(f"k{n}", 0) for n in range(128))

    await store.commit(*(Put(f"k{n}", b"x" * 8192) for n in range(128)), when=compares)

    assert len((await store.list("")).entries) == 128
    with pytest.raises(BadInput):
        await store.commit(when=(*compares, Compare("more", 0)))


async def test_a_failed_comparison_goes_before_an_unknown_lease(store: Store) -> None:
    with pytest.raises(StoreConflict):
        await store.commit(Put("a", b"", lease=12345), when=(Compare("a", 7),))
    with pytest.raises(NotFound):
        await store.commit(Put("a", b"", lease=12345), when=(Compare("a", 0),))
    assert await store.list("") == Snapshot(1, ())


async def test_commits_take_effect_in_the_order_in_which_they_were_asked_for(store: Store) -> None:
    revisions = await asyncio.gather(*(store.commit(Put("a", b"%d" % n)) for n in range(50)))

    assert revisions == list(range(2, 52))
    entry = await store.get("a")
    assert entry is not None
    assert entry.value == b"49"


async def test_of_many_who_compare_and_put_at_once_one_wins(store: Store) -> None:
    async def claim(name: int) -> bool:
        try:
            await store.commit(Put("owner", b"%d" % name), when=(Compare("owner", 0),))
        except StoreConflict:
            return False
        return True

    won = await asyncio.gather(*(claim(name) for name in range(20)))

    assert won.count(True) == 1
    entry = await store.get("owner")
    assert entry is not None
    assert entry.version == 1


async def test_an_acknowledged_commit_is_seen_by_every_later_read(store: Store) -> None:
    for n in range(20):
        revision = await store.commit(Put("a", b"%d" % n))
        entry = await store.get("a")
        assert entry is not None
        assert (entry.value, entry.modified) == (b"%d" % n, revision)


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancelled_commit_has_happened_as_a_whole_or_not_at_all(store: Store, turns: int) -> None:
    tasks = [asyncio.create_task(store.commit(Put(f"k{n}/a", b""), Put(f"k{n}/b", b""))) for n in range(10)]
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    acknowledged = {n for n, task in enumerate(tasks) if not await was_cancelled(task)}

    revision = await store.commit(Put("last", b""))

    keys = {entry.key for entry in (await store.list("k")).entries}
    happened = {n for n in range(10) if f"k{n}/a" in keys}
    assert keys == {f"k{n}/{part}" for n in happened for part in "ab"}
    assert happened >= acknowledged >= {1, 3, 5, 7, 9}
    assert revision == 1 + len(happened) + 1


async def was_cancelled(task: asyncio.Task[int]) -> bool:
    with suppress(asyncio.CancelledError):
        await task
    return task.cancelled()


async def test_a_closed_store_refuses_everything(store: Store) -> None:
    lease = await store.grant(10)
    await store.close()

    for call in (
        store.get("a"),
        store.list(""),
        store.commit(Put("a", b"")),
        store.commit(),
        store.grant(10),
        store.keep_alive(lease),
        store.revoke(lease),
        store.compact(1),
    ):
        with pytest.raises(StoreClosed):
            await call
    with pytest.raises(StoreClosed):
        await anext(store.watch("", 0))


async def test_closing_twice_at_once_and_again_is_no_error(store: Store) -> None:
    await asyncio.gather(store.close(), store.close())
    await store.close()


async def test_closing_answers_every_commit_that_waits(store: Store) -> None:
    tasks = [asyncio.create_task(store.commit(Put(f"k{n}", b""))) for n in range(10)]
    await asyncio.sleep(0)
    await store.close()

    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(isinstance(answer, int | StoreClosed) for answer in answers)
    assert isinstance(answers[-1], StoreClosed) or answers == list(range(2, 12))
