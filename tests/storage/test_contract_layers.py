"""What pools promise about keeping a volume as it was: in a copy that shares blocks, or under a new image."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, NameInUse, NotFound, ResourceBusy
from wirt.model.storage import Capability, Volume
from wirt.ports.storage import NewVolume

from .worlds import World


async def made(world: World, format_: DiskFormat = DiskFormat.RAW, name: str = "web") -> Volume:
    return await world.pool.create(NewVolume(name, world.size, format_))


def formats(world: World) -> Iterator[DiskFormat]:
    if Capability.LAYERS not in world.pool.capabilities:
        pytest.skip("volumes of this pool stand on nothing, and it says so")
    yield from world.pool.formats


async def test_a_snapshot_keeps_what_was_and_depends_on_nothing(world: World) -> None:
    web = await made(world)
    world.write(web, b"before")
    if Capability.SNAPSHOT not in world.pool.capabilities and Capability.LAYERS in world.pool.capabilities:
        return  # such pools stage
    if Capability.SNAPSHOT not in world.pool.capabilities:
        with pytest.raises(BadInput):
            await world.pool.snapshot("web", "kept")
        return
    kept = await world.pool.snapshot("web", "kept")
    await world.pool.activate("kept")
    world.write(web, b"after!")
    assert kept.backing is None
    assert world.seen(kept, 6) == b"before"
    await world.pool.deactivate("kept")
    await world.pool.remove("web")
    back = await world.pool.rename("kept", "web")
    await world.pool.activate("web")
    assert world.seen(back, 6) == b"before"


async def test_a_pool_without_layers_says_so(world: World) -> None:
    await made(world)
    if Capability.LAYERS not in world.pool.capabilities:
        with pytest.raises(BadInput):
            await world.pool.layer("new", "web")


async def test_a_volume_goes_on_in_a_new_image_and_back(world: World) -> None:
    for format_ in formats(world):
        web = await made(world, format_)
        if format_ is DiskFormat.RAW:
            world.write(web, b"before")
        before = world.seen(web, 6)
        new = await world.pool.layer("web+new", "kept", now="web")
        assert (new.size, new.format) == (world.size, DiskFormat.QCOW2)
        for _ in range(2):
            kept = await world.pool.rename("web", "kept")
            assert (kept.name, kept.format, kept.backing) == ("kept", format_, None)
        now = await world.pool.rename("web+new", "web")
        assert (now.name, now.format, now.backing, now.size) == ("web", DiskFormat.QCOW2, "kept", world.size)
        assert world.seen(now, 6) == before
        with pytest.raises(ResourceBusy, match="web"):
            await world.pool.remove("kept")
        await world.pool.remove("web")
        back = await world.pool.layer("web", "kept")
        assert (back.backing, world.seen(back, 6)) == ("kept", before)
        await world.pool.remove("web")
        await world.pool.remove("kept")


async def test_a_name_that_is_taken_is_not_given_again(world: World) -> None:
    if Capability.CREATE not in world.pool.capabilities:
        pytest.skip("this pool makes no volumes, and says so")
    await made(world)
    world.write(await made(world, name="new"), b"new")
    with pytest.raises(NameInUse, match="new"):
        await world.pool.rename("web", "new")
    assert world.seen(await world.pool.find("new"), 3) == b"new"
    with pytest.raises(NotFound):
        await world.pool.rename("gone", "other")
