"""What every store promises about watches and compaction (``ports.store``)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from wirt.model.errors import BadInput, Compacted, StoreClosed
from wirt.ports.store import Change, Delete, Put, Store, Watch

DEADLINE_S = 10.0
"""For what must come: only a failing test ever waits for it."""


async def following(watch: Watch, count: int = 1) -> list[tuple[Change, ...]]:
    async with asyncio.timeout(DEADLINE_S):
        return [await anext(watch) for _ in range(count)]


def brief(transactions: Sequence[tuple[Change, ...]]) -> list[list[tuple[int, str, bytes | None]]]:
    return [
        [(c.revision, c.key, None if c.entry is None else c.entry.value) for c in changes]
        for changes in transactions
    ]


async def test_a_watch_gives_past_and_coming_transactions_alike(store: Store) -> None:
    await store.commit(Put("a", b"1"))
    watch = store.watch("", 0)
    assert brief(await following(watch)) == [[(2, "a", b"1")]]

    waiting = asyncio.create_task(following(watch, 2))
    await asyncio.sleep(0)
    await store.commit(Put("a", b"2"))
    await store.commit(Delete("a"))

    assert brief(await waiting) == [[(3, "a", b"2")], [(4, "a", None)]]


async def test_a_change_carries_the_entry_as_it_was_then(store: Store) -> None:
    for value in (b"1", b"2"):
        await store.commit(Put("a", value))
    entry = await store.get("a")

    [(first,), (second,)] = await following(store.watch("", 0), 2)

    assert first.entry is not None
    assert (first.entry.value, first.entry.version, first.entry.modified) == (b"1", 1, 2)
    assert second.entry == entry


async def test_a_transaction_s_changes_come_together_in_the_order_of_keys(store: Store) -> None:
    await store.commit(Put("b", b""))
    await store.commit(Put("c", b"1"), Delete("b"), Put("a", b"2"), Delete("absent"))

    assert brief(await following(store.watch("", 2))) == [[(3, "a", b"2"), (3, "b", None), (3, "c", b"1")]]


async def test_a_watch_gives_only_what_is_under_its_prefix(store: Store) -> None:
    watch = store.watch("vm/", 0)
    waiting = asyncio.create_task(following(watch, 2))
    await asyncio.sleep(0)
    await store.commit(Put("vmx", b""))
    await store.commit(Put("vm/a", b"1"), Put("other", b""))
    await store.commit(Put("vn", b""))
    await store.commit(Put("vm/b", b"2"))

    assert brief(await waiting) == [[(3, "vm/a", b"1")], [(5, "vm/b", b"2")]]


async def test_watching_from_a_list_s_revision_misses_nothing_and_repeats_nothing(store: Store) -> None:
    await store.commit(Put("a", b"1"))
    snapshot = await store.list("")
    await store.commit(Put("a", b"2"))

    assert brief(await following(store.watch("", snapshot.revision))) == [[(3, "a", b"2")]]


async def test_a_watch_may_start_in_the_future(store: Store) -> None:
    watch = store.watch("", 3)
    waiting = asyncio.create_task(following(watch))
    await asyncio.sleep(0)
    for n in range(4):
        await store.commit(Put("a", b"%d" % n))

    assert brief(await waiting) == [[(4, "a", b"2")]]


async def test_many_watches_see_the_same(store: Store) -> None:
    watches = [asyncio.create_task(following(store.watch("", 0), 20)) for _ in range(20)]
    await asyncio.gather(*(store.commit(Put(f"k{n}", b"")) for n in range(20)))

    seen = [brief(await watch) for watch in watches]

    assert seen == [[[(n + 2, f"k{n}", b"")] for n in range(20)]] * 20


async def test_a_cancelled_wait_loses_nothing(store: Store) -> None:
    watch = store.watch("", 0)
    for n in range(10):
        waiting = asyncio.create_task(anext(watch))
        await asyncio.sleep(0)
        commit = asyncio.create_task(store.commit(Put("a", b"%d" % n)))
        for _ in range(n):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting, commit})
        if not waiting.cancelled():
            assert brief([waiting.result()]) == [[(n + 2, "a", b"%d" % n)]]
        else:
            assert brief(await following(watch)) == [[(n + 2, "a", b"%d" % n)]]


async def test_ending_a_watch_releases_who_waits_for_it(store: Store) -> None:
    watch = store.watch("", 0)
    waiting = asyncio.create_task(anext(watch, None))
    await asyncio.sleep(0)

    await watch.aclose()
    await watch.aclose()

    assert await asyncio.wait_for(waiting, DEADLINE_S) is None
    await store.commit(Put("a", b""))
    assert [changes async for changes in watch] == []


async def test_closing_the_store_ends_running_watches(store: Store) -> None:
    watch = store.watch("", 0)
    waiting = asyncio.create_task(following(watch))
    await asyncio.sleep(0)

    await store.close()

    with pytest.raises(StoreClosed):
        await waiting
    with pytest.raises(StoreClosed):
        await following(watch)


async def test_compacting_forgets_changes_and_keeps_entries(store: Store) -> None:
    for n in range(3):
        await store.commit(Put("a", b"%d" % n), Put(f"k{n}", b""))
    before = await store.list("")

    await store.compact(3)

    assert await store.list("") == before
    with pytest.raises(Compacted):
        await following(store.watch("", 2))
    assert brief(await following(store.watch("a", 3))) == [[(4, "a", b"2")]]


async def test_a_watch_that_is_compacted_says_from_where_history_goes_on(store: Store) -> None:
    for _ in range(4):
        await store.commit(Put("a", b""))
    await store.compact(4)

    with pytest.raises(Compacted) as failure:
        await following(store.watch("", 0))

    assert brief(await following(store.watch("", failure.value.oldest - 1))) == [[(5, "a", b"")]]


async def test_a_reader_who_falls_behind_compaction_is_told(store: Store) -> None:
    await store.commit(Put("a", b"1"))
    watch = store.watch("", 0)
    await following(watch)
    for n in range(2, 5):
        await store.commit(Put("a", b"%d" % n))

    await store.compact(4)

    with pytest.raises(Compacted):
        await following(watch)


async def test_a_reader_who_waits_is_not_harmed_by_compaction(store: Store) -> None:
    waiting = asyncio.create_task(following(store.watch("b", 0)))
    await asyncio.sleep(0)
    revision = 1
    for _ in range(5):
        revision = await store.commit(Put("a", b""))
    await store.compact(revision)

    await store.commit(Put("b", b"1"))

    assert brief(await waiting) == [[(7, "b", b"1")]]


async def test_compacting_an_untouched_store_hides_nothing(store: Store) -> None:
    await store.compact(1)
    await store.commit(Put("a", b"1"))

    assert brief(await following(store.watch("", 0))) == [[(2, "a", b"1")]]


async def test_compacting_again_is_no_error_and_the_future_can_t_be_compacted(store: Store) -> None:
    revision = await store.commit(Put("a", b""))
    await store.compact(revision)
    await store.compact(revision)
    await store.compact(1)

    with pytest.raises(BadInput):
        await store.compact(revision + 1)
