"""What every store promises about leases (``ports.store``)."""

from __future__ import annotations

import asyncio

import pytest

from wirt.model.errors import BadInput, NotFound
from wirt.ports.store import Delete, Put, Store, Watch

from .conftest import PassTime

DEADLINE_S = 10.0


async def deletion(watch: Watch) -> list[str]:
    """The keys of the next transaction that deletes something."""
    async with asyncio.timeout(DEADLINE_S):
        async for changes in watch:
            if any(change.entry is None for change in changes):
                return [change.key for change in changes]
    raise AssertionError("the watch ended")


async def test_an_entry_names_its_lease(store: Store) -> None:
    lease = await store.grant(5)
    await store.commit(Put("a", b"", lease=lease))

    entry = await store.get("a")

    assert entry is not None
    assert entry.lease == lease


async def test_granting_a_lease_is_no_change(store: Store) -> None:
    lease = await store.grant(5)
    assert (await store.list("")).revision == 1
    await store.revoke(lease)
    assert (await store.list("")).revision == 1


async def test_leases_have_different_numbers_even_after_their_end(store: Store) -> None:
    leases = []
    for _ in range(5):
        leases.append(await store.grant(5))
        await store.revoke(leases[-1])

    assert len(set(leases)) == 5


async def test_the_keys_of_a_lease_go_together_when_its_time_is_over(store: Store, pass_time: PassTime) -> None:
    lease = await store.grant(3)
    await store.commit(Put("b", b"", lease=lease), Put("stays", b""))
    revision = await store.commit(Put("a", b"", lease=lease))
    watch = store.watch("", revision)

    await pass_time(2.9)
    assert await store.get("a") is not None
    await pass_time(0.2)

    assert await deletion(watch) == ["a", "b"]
    snapshot = await store.list("")
    assert (snapshot.revision, [entry.key for entry in snapshot.entries]) == (revision + 1, ["stays"])


async def test_a_lease_that_is_kept_alive_goes_on(store: Store, pass_time: PassTime) -> None:
    lease = await store.grant(2)
    await store.commit(Put("a", b"", lease=lease))
    for _ in range(5):
        await pass_time(1.5)
        await store.keep_alive(lease)
    assert await store.get("a") is not None

    watch = store.watch("", 2)
    await pass_time(2.5)

    assert await deletion(watch) == ["a"]


async def test_a_lease_that_has_ended_can_t_be_kept_alive_nor_used(store: Store, pass_time: PassTime) -> None:
    lease = await store.grant(2)
    revision = await store.commit(Put("a", b"", lease=lease))
    await pass_time(2.5)
    await deletion(store.watch("", revision))

    with pytest.raises(NotFound):
        await store.keep_alive(lease)
    with pytest.raises(NotFound):
        await store.commit(Put("b", b"", lease=lease))
    with pytest.raises(NotFound):
        await store.keep_alive(987654321)


async def test_when_keeping_alive_comes_too_late_the_keys_are_gone(store: Store, pass_time: PassTime) -> None:
    lease = await store.grant(2)
    await store.commit(Put("a", b"", lease=lease))
    await pass_time(2.5)

    with pytest.raises(NotFound):
        await store.keep_alive(lease)

    assert await store.get("a") is None


async def test_revoking_deletes_the_keys_at_once(store: Store) -> None:
    lease = await store.grant(100)
    await store.commit(Put("b", b"", lease=lease), Put("a", b"", lease=lease))

    await store.revoke(lease)

    assert (await store.list("")).entries == ()
    assert await deletion(store.watch("", 2)) == ["a", "b"]
    with pytest.raises(NotFound):
        await store.keep_alive(lease)


async def test_revoking_what_is_not_there_is_no_error(store: Store) -> None:
    lease = await store.grant(100)
    await store.revoke(lease)
    await store.revoke(lease)
    await store.revoke(987654321)


async def test_a_put_without_the_lease_takes_the_key_off_it(store: Store) -> None:
    lease = await store.grant(100)
    await store.commit(Put("a", b"", lease=lease), Put("b", b"", lease=lease))
    await store.commit(Put("a", b""))

    await store.revoke(lease)

    assert [entry.key for entry in (await store.list("")).entries] == ["a"]


async def test_a_put_with_another_lease_moves_the_key_to_it(store: Store) -> None:
    first, second = await store.grant(100), await store.grant(100)
    await store.commit(Put("a", b"", lease=first))
    await store.commit(Put("a", b"", lease=second))

    await store.revoke(first)
    assert await store.get("a") is not None

    await store.revoke(second)
    assert await store.get("a") is None


async def test_a_deleted_key_leaves_its_lease(store: Store) -> None:
    lease = await store.grant(100)
    await store.commit(Put("a", b"", lease=lease))
    await store.commit(Delete("a"))
    await store.commit(Put("a", b""))

    await store.revoke(lease)

    assert await store.get("a") is not None


async def test_each_lease_ends_in_its_own_time(store: Store, pass_time: PassTime) -> None:
    for ttl_s in (6, 2, 4):
        await store.commit(Put(f"k{ttl_s}", b"", lease=await store.grant(ttl_s)))
    watch = store.watch("", 4)

    await pass_time(10)

    assert [await deletion(watch) for _ in range(3)] == [["k2"], ["k4"], ["k6"]]


@pytest.mark.parametrize("ttl_s", [1, 0, -5, 9_000_000_001, 2.5])
async def test_an_impossible_time_to_live_is_refused(store: Store, ttl_s: int) -> None:
    with pytest.raises(BadInput):
        await store.grant(ttl_s)
