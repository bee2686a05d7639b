"""What every pool promises, held by the fake and the real ones alike."""

from __future__ import annotations

import asyncio

import pytest

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, NameInUse, NotFound, ResourceBusy, Shortage
from wirt.model.storage import Capability, Preallocation
from wirt.ports.storage import NewVolume

from .worlds import World

HUGE = 1 << 60


def new(world: World, name: str = "web", **changes: object) -> NewVolume:
    values: dict[str, object] = {"name": name, "size": world.size, "format": DiskFormat.RAW, **changes}
    return NewVolume(**values)  # type: ignore[arg-type]


async def test_a_new_volume_is_as_it_was_asked_for(world: World) -> None:
    for format_ in world.pool.formats:
        made = await world.pool.create(new(world, f"web-{format_}", format=format_))
        assert (made.pool, made.name, made.format) == ("default", f"web-{format_}", format_)
        assert made.size == world.size
        assert made.backing is None
        assert await world.pool.find(made.name) == made
    assert [volume.format for volume in await world.pool.volumes()] == sorted(world.pool.formats)


async def test_volumes_are_listed_by_name(world: World) -> None:
    for name in ("c", "a", "b.1"):
        await world.pool.create(new(world, name))
    assert [volume.name for volume in await world.pool.volumes()] == ["a", "b.1", "c"]


async def test_a_name_is_given_once(world: World) -> None:
    made = await world.pool.create(new(world))
    world.write(made, b"mine")
    for format_ in world.pool.formats:
        with pytest.raises(NameInUse):
            await world.pool.create(new(world, format=format_))
    assert world.read(made, 4) == b"mine"


async def test_of_many_that_want_one_name_one_gets_it(world: World) -> None:
    made = await asyncio.gather(*(world.pool.create(new(world)) for _ in range(8)), return_exceptions=True)
    assert sum(not isinstance(each, BaseException) for each in made) == 1
    assert all(isinstance(each, NameInUse) for each in made if isinstance(each, BaseException))
    assert len(await world.pool.volumes()) == 1


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", "a b", "ä", "x" * 121, "a\n"])
async def test_a_name_that_can_not_be_is_refused(world: World, name: str) -> None:
    with pytest.raises(BadInput):
        await world.pool.create(new(world, name))
    assert await world.pool.volumes() == ()


async def test_a_format_that_the_pool_does_not_make_is_refused(world: World) -> None:
    with pytest.raises(BadInput):
        await world.pool.create(new(world, format=DiskFormat.VHD))


async def test_what_is_not_there_is_not_found(world: World) -> None:
    for call in (
        world.pool.find("gone"),
        world.pool.grow("gone", 1),
        world.pool.clone("gone", "new"),
        world.pool.activate("gone"),
    ):
        with pytest.raises(NotFound, match="gone"):
            await call


async def test_removing_is_removing_once(world: World) -> None:
    await world.pool.create(new(world))
    await world.pool.remove("web")
    assert await world.pool.volumes() == ()
    await world.pool.remove("web")


async def test_a_volume_that_does_not_fit_is_refused_with_numbers_and_leaves_nothing(world: World) -> None:
    if Capability.PREALLOCATE not in world.pool.capabilities:
        pytest.skip("this pool takes room only when it is written, and says so")
    before = await world.pool.usage()
    for format_ in world.pool.formats:
        with pytest.raises(Shortage, match="MiB"):
            await world.pool.create(
                new(world, size=before.capacity * 2, format=format_, preallocation=Preallocation.FULL)
            )
    assert await world.pool.volumes() == ()
    assert await world.pool.tidy() == ()


async def test_a_volume_laid_out_whole_has_its_room(world: World) -> None:
    if Capability.PREALLOCATE not in world.pool.capabilities:
        with pytest.raises(BadInput, match="when they are written"):
            await world.pool.create(new(world, preallocation=Preallocation.FULL))
        return
    for format_ in world.pool.formats:
        made = await world.pool.create(
            new(world, f"w-{format_}", format=format_, preallocation=Preallocation.FULL)
        )
        assert made.allocated >= made.size


async def test_usage_counts_what_volumes_may_grow_to(world: World) -> None:
    before = await world.pool.usage()
    await world.pool.create(new(world))
    after = await world.pool.usage()
    assert after.promised - before.promised == world.size
    assert 0 <= after.available <= after.capacity


async def test_growing_keeps_what_is_in_it(world: World) -> None:
    made = await world.pool.create(new(world))
    world.write(made, b"mine")
    grown = await world.pool.grow("web", world.size * 2)
    assert grown.size == world.size * 2
    assert world.read(grown, 4) == b"mine"


async def test_growing_never_makes_a_volume_smaller(world: World) -> None:
    await world.pool.create(new(world))
    assert (await world.pool.grow("web", world.size // 2)).size == world.size


async def test_shrinking_cuts_a_volume_off(world: World) -> None:
    """Of a format with a size of its own, the image is cut before (:meth:`ImageTool.resize`)."""
    await world.pool.create(new(world))
    assert (await world.pool.shrink("web", world.size // 2)).size == world.size // 2


async def test_a_new_volume_reads_as_zeroes_whatever_was_there_before(world: World) -> None:
    made = await world.pool.activate((await world.pool.create(new(world))).name)
    world.write(made, b"another guest's secret")
    await world.pool.deactivate("web")
    await world.pool.remove("web")
    again = await world.pool.activate((await world.pool.create(new(world, "next"))).name)
    assert world.read(again, 22) == bytes(22)


async def test_a_clone_begins_as_its_origin_and_goes_its_own_way(world: World) -> None:
    if Capability.CLONE not in world.pool.capabilities:
        pytest.skip("this pool has no clones, and says so")
    await world.pool.create(new(world, "base"))
    cloned = await world.pool.clone("base", "web")
    assert (cloned.size, cloned.name) == (world.size, "web")
    assert [volume.name for volume in await world.pool.volumes()] == ["base", "web"]
    with pytest.raises(NameInUse):
        await world.pool.clone("base", "web")


async def test_what_others_stand_on_is_not_removed(world: World) -> None:
    if Capability.CLONE not in world.pool.capabilities:
        pytest.skip("this pool has no clones, and says so")
    if DiskFormat.QCOW2 not in world.pool.formats:
        pytest.skip("clones of this pool stand on their own")
    await world.pool.create(new(world, "base", format=DiskFormat.QCOW2))
    await world.pool.clone("base", "one")
    await world.pool.clone("one", "two")
    for name, above in (("base", "one"), ("one", "two")):
        with pytest.raises(ResourceBusy, match=above):
            await world.pool.remove(name)
    for name in ("two", "one", "base"):
        await world.pool.remove(name)
    assert await world.pool.volumes() == ()


async def test_what_was_interrupted_is_no_volume_and_is_tidied_away(world: World) -> None:
    world.interrupted()
    assert await world.pool.volumes() == ()
    assert len(await world.pool.tidy()) == 1
    assert await world.pool.tidy() == ()


async def test_a_volume_can_be_used_as_often_as_wanted(world: World) -> None:
    made = await world.pool.create(new(world))
    assert await world.pool.activate("web") == await world.pool.activate("web") == made
    await world.pool.deactivate("web")
    await world.pool.deactivate("web")
