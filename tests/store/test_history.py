"""Local stores forget old changes by themselves, so that nothing grows for ever."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from wirt.model.errors import Compacted
from wirt.ports.store import Change, Delete, Put
from wirt.ports.virtual_clock import VirtualClock
from wirt.store import MemoryStore, open_sqlite_store
from wirt.store.tree import Effect, Row, Tree


async def oldest_watchable(store: MemoryStore) -> int:
    for after in range(1, 10_000):
        try:
            await anext(store.watch("", after))
        except Compacted:
            continue
        return after
    raise AssertionError("nothing can be watched")


async def test_the_newest_revisions_stay(clock: VirtualClock) -> None:
    store = MemoryStore(clock, keep_revisions=20)
    for n in range(200):
        revision = await store.commit(Put("a", b"%d" % n))
        assert min(revision - 1, 20) <= revision - await oldest_watchable(store) <= 22
    await store.close()


async def test_a_file_does_not_grow_with_the_number_of_commits(clock: VirtualClock, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    sizes = []
    for _ in range(3):
        store = await open_sqlite_store(path, clock, keep_revisions=20)
        for n in range(150):
            await store.commit(Put(f"k{n % 7}", b"x" * 1000))
        await store.close()
        sizes.append(path.stat().st_size)

    assert sizes[2] <= sizes[0] < 150_000


def test_history_is_bounded_by_size_too() -> None:
    state = Tree()
    for _ in range(30):
        state.apply(state.transact([Put("a", b"x" * 100)], []))

    forget = state.history_to_forget(keep_revisions=1000, keep_bytes=1000)

    assert forget is not None
    state.apply(state.compact(forget))
    assert state.revision - state.compacted == 10
    assert state.history_to_forget(keep_revisions=1000, keep_bytes=1000) is None


@pytest.mark.parametrize(
    ("numbers", "rows", "complaint"),
    [
        ({"revision": 5, "compacted": 1}, [2, 3, 5], "5 follows 3"),
        ({"revision": 4, "compacted": 1}, [2, 3], "end at 3"),
        ({"revision": 3, "compacted": 1}, [3, 2], "3 follows 1"),
    ],
)
def test_rows_that_no_tree_can_have_left_are_refused(
    numbers: dict[str, int], rows: list[int], complaint: str
) -> None:
    changes = [Change("a", revision, None) for revision in rows]

    with pytest.raises(ValueError, match=complaint):
        Tree.restored(**numbers, last_lease=0, leases=[], rows=changes)


def random_effect(state: Tree, chance: random.Random) -> Effect:
    match chance.randrange(8):
        case 0:
            return state.compact(max(0, state.revision - chance.randrange(6)))
        case 1:
            return state.grant(chance.randrange(2, 100))
        case 2 if state.leases:
            return state.end_lease(chance.choice(list(state.leases)))
        case 3:
            return state.transact([Delete(chance.choice("abc")), Delete(chance.choice("def"))], [])
        case _:
            lease = chance.choice([None, *state.leases])
            return state.transact([Put(chance.choice("abcdef"), b"%d" % state.revision, lease)], [])


@pytest.mark.parametrize("seed", range(10))
def test_what_stays_on_disk_is_the_history_and_the_current_entries_and_no_more(seed: int) -> None:
    chance, state = random.Random(seed), Tree()
    disk: dict[Row, Change] = {}
    for _ in range(200):
        effect = random_effect(state, chance)
        disk |= {Row(change.revision, change.key): change for change in effect.changes}
        for row in effect.obsolete:
            del disk[row]
        state.apply(effect)

        current = {Row(entry.modified, entry.key) for entry in state.list("").entries}
        assert {row for row in disk if row.revision <= state.compacted} == {
            row for row in current if row.revision <= state.compacted
        }
        again = Tree.restored(
            revision=state.revision,
            compacted=state.compacted,
            last_lease=state.last_lease,
            leases=state.leases.values(),
            rows=disk.values(),
        )
        assert again.list("") == state.list("")
        assert again.next_changes("", state.compacted) == state.next_changes("", state.compacted)
