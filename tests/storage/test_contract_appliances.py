"""What every reader of appliances promises, the one in memory too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.operations.appliance_kit import machine

from wirt.model.devices import DiskFormat
from wirt.model.errors import IllegalState, NameInUse, NotFound
from wirt.model.storage import ImageFormat, Volume
from wirt.ports.appliances import Appliances
from wirt.storage.appliances.fake import FakeAppliances
from wirt.storage.appliances.host import HostAppliances

from .appliance_rig import CONTENT
from .archives import xva


@dataclass
class World:
    """``put`` makes an appliance at ``path``, another one each time."""

    appliances: Appliances
    folder: Path
    put: Callable[[], Awaitable[None]]

    @property
    def path(self) -> str:
        return str(self.folder / "shop.xva")

    def at(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture(params=["fake", "host"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    count = iter(range(100))
    if request.param == "fake":
        fake = FakeAppliances()

        async def put_fake() -> None:
            fake.appliances[str(tmp_path / "shop.xva")] = machine(f"shop{next(count)}")

        return World(fake, tmp_path, put_fake)

    async def put() -> None:
        (tmp_path / "shop.xva").write_bytes(xva({"Ref:7": CONTENT + bytes(512 * next(count))}, new=True))

    return World(HostAppliances(), tmp_path, put)


def target(world: World, size: int) -> Volume:
    path = world.folder / "out"
    with path.open("wb") as file:
        file.truncate(size)
    return Volume("pool", "out", DiskFormat.RAW, size, 0, str(path))


async def test_what_is_not_there_is_told(world: World) -> None:
    with pytest.raises(NotFound):
        await world.appliances.look(world.path)


async def test_a_disk_is_poured_and_progress_told(world: World) -> None:
    await world.put()
    found, told = await world.appliances.look(world.path), list[float]()
    disk = found.appliance.disks[0]
    assert disk.size is not None
    await world.appliances.check(found.package, told.append)
    await world.appliances.pour(found.package, 0, disk.format, target(world, disk.size), told.append)
    assert told and all(0 <= share <= 1 for share in told)


async def test_what_has_changed_since_it_was_looked_at_is_refused(world: World) -> None:
    await world.put()
    found = await world.appliances.look(world.path)
    await world.put()
    with pytest.raises(IllegalState, match="has changed"):
        await world.appliances.check(found.package, lambda share: None)
    with pytest.raises(IllegalState, match="has changed"):
        await world.appliances.pour(found.package, 0, ImageFormat.RAW, target(world, 512), lambda share: None)


async def test_an_archive_is_written_once(world: World) -> None:
    appliances, scratch, out = world.appliances, world.at("scratch"), world.at("out.ova")
    assert await appliances.room(out) > 0
    await appliances.make_scratch(scratch)
    disk = world.folder / "scratch" / "d.vmdk"
    disk.parent.mkdir(exist_ok=True)
    disk.write_bytes(b"disk")
    packed = await appliances.measure(str(disk))
    assert packed.name == "d.vmdk"
    assert not await appliances.exists(out)
    await appliances.pack(out, ("a.ovf", "text"), [packed], scratch, lambda share: None)
    assert await appliances.exists(out)
    with pytest.raises(NameInUse):
        await appliances.pack(out, ("a.ovf", "text"), [packed], scratch, lambda share: None)
    await appliances.discard(scratch)
    await appliances.discard(out)
    await appliances.discard(out)
    assert not await appliances.exists(out)
