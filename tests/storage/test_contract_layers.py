"""What pools promise about keeping a volume as it was: in a copy that shares blocks, or under a new image."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, NotFound, ResourceBusy
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
    back = await world.pool.replace("web", "kept")
    await world.pool.activate("web")
    assert world.seen(back, 6) == b"before"
    assert [volume.name for volume in await world.pool.volumes()] == ["web"]


async def test_a_pool_without_layers_stages_nothing(world: World) -> None:
    await made(world)
    if Capability.LAYERS not in world.pool.capabilities:
        with pytest.raises(BadInput):
            await world.pool.stage("web", "kept")


async def test_what_is_staged_is_no_volume_and_leaves_nothing(world: World) -> None:
    for format_ in formats(world):
        await made(world, format_)
        for _ in range(2):
            staged = await world.pool.stage("web", "kept")
            assert (staged.backing, staged.size, staged.format) == ("kept", world.size, DiskFormat.QCOW2)
            assert [volume.name for volume in await world.pool.volumes()] == ["web"]
        await world.pool.unstage("web")
        await world.pool.unstage("web")
        assert (await world.pool.settle("web", "kept")).format is format_
        await world.pool.remove("web")
        assert await world.pool.tidy() == ()


async def test_a_volume_goes_on_in_what_was_staged_and_what_it_was_is_kept(world: World) -> None:
    for format_ in formats(world):
        web = await made(world, format_)
        if format_ is DiskFormat.RAW:
            world.write(web, b"before")
        before = world.seen(web, 6)
        await world.pool.stage("web", "kept")
        for _ in range(2):
            now = await world.pool.settle("web", "kept")
            assert (now.name, now.format, now.backing, now.size) == ("web", DiskFormat.QCOW2, "kept", world.size)
            assert world.seen(now, 6) == before
        kept = await world.pool.find("kept")
        assert (kept.format, kept.backing) == (format_, None)
        with pytest.raises(ResourceBusy, match="web"):
            await world.pool.remove("kept")
        await world.pool.remove("web")
        await world.pool.remove("kept")


async def test_staging_on_what_is_kept_goes_back_to_it(world: World) -> None:
    for _ in formats(world):
        web = await made(world)
        world.write(web, b"before")
        await world.pool.stage("web", "kept")
        await world.pool.settle("web", "kept")
        await world.pool.stage("web", "kept2")
        await world.pool.settle("web", "kept2")
        await world.pool.stage("web", "kept")
        back = await world.pool.settle("web", "kept")
        assert back.backing == "kept"
        assert world.seen(back, 6) == b"before"
        assert [volume.name for volume in await world.pool.volumes()] == ["kept", "kept2", "web"]
        for name in ("web", "kept2", "kept"):
            await world.pool.remove(name)


async def test_a_volume_that_takes_anothers_place_is_finished_when_it_is_called_again(world: World) -> None:
    for _ in formats(world):
        world.write(await made(world), b"old")
        world.write(await made(world, name="new"), b"new")
        for _ in range(2):
            now = await world.pool.replace("web", "new")
            assert world.seen(now, 3) == b"new"
        assert [volume.name for volume in await world.pool.volumes()] == ["web"]
        await world.pool.remove("web")
        with pytest.raises(NotFound):
            await world.pool.replace("web", "new")
