"""Pools in memory: for tests, and for simulations of many hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, NameInUse, NotFound, ResourceBusy, Shortage, WirtError
from wirt.model.storage import (
    Capability,
    Image,
    ImageFormat,
    PoolConfig,
    PoolType,
    PoolUsage,
    Preallocation,
    Volume,
    check_volume_name,
)
from wirt.model.units import GIB, MIB
from wirt.plan.engine import Medium
from wirt.ports.storage import Identity, ImageFacts, NewVolume, Progress


@dataclass(slots=True)
class FakeMedium:
    """What is behind a pool, on which hosts may stand side by side. ``failures`` are raised by the next calls that
    change something, one each."""

    capacity: int = 64 * GIB
    volumes: dict[str, Volume] = field(default_factory=dict)
    failures: list[WirtError] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    """What interrupted calls left."""
    data: dict[str, dict[str, int]] = field(default_factory=dict)
    """What was written into each image, by its path; what stands on others has its own only."""
    proofs: set[str] = field(default_factory=set)
    """Marks that lie beside the images."""
    images: int = 0
    """How many were made: each has a path of its own, which it keeps under whatever name."""

    def seen(self, volume: Volume) -> dict[str, int]:
        """What a guest reads of it."""
        below = self.volumes.get(volume.backing or "")
        return {**(self.seen(below) if below is not None else {}), **self.data.get(volume.path, {})}

    def merge(self, top: str, below: str) -> None:
        """By their paths: what ``top`` has of its own into ``below``."""
        self.data[below] = {**self.data.get(below, {}), **self.data.get(top, {})}


def _path(target: str, name: str) -> str:
    return f"/fake/{target.lstrip('/')}/{name}"


class FakePool:
    formats = (DiskFormat.RAW, DiskFormat.QCOW2)

    def __init__(self, config: PoolConfig, medium: FakeMedium, capabilities: frozenset[Capability]) -> None:
        self.config = config
        self.capabilities = capabilities
        self._medium = medium

    async def usage(self) -> PoolUsage:
        volumes = self._medium.volumes.values()
        allocated = sum(volume.allocated for volume in volumes)
        return PoolUsage(
            capacity=self._medium.capacity,
            available=self._medium.capacity - allocated,
            allocated=allocated,
            promised=sum(volume.size for volume in volumes),
        )

    async def file_system(self) -> None:
        """There is none in memory."""

    async def volumes(self) -> tuple[Volume, ...]:
        return tuple(sorted(self._medium.volumes.values(), key=lambda volume: volume.name))

    async def find(self, name: str) -> Volume:
        try:
            return self._medium.volumes[name]
        except KeyError:
            raise NotFound(
                f"there is no volume {name} in {self.config.name}", hint=f"wirt volume list {self.config.name}"
            ) from None

    async def create(self, wanted: NewVolume) -> Volume:
        check_volume_name(wanted.name)
        if wanted.format not in self.formats:
            raise BadInput(f"{self.config.name} makes no {wanted.format} volumes")
        full = wanted.preallocation is Preallocation.FULL
        await self._need(wanted.name, wanted.size if full else 0)
        return self._put(
            Volume(
                pool=self.config.name,
                name=wanted.name,
                format=wanted.format,
                size=wanted.size,
                allocated=wanted.size if full else 0,
                path=_path(self.config.target, wanted.name),
            )
        )

    async def grow(self, name: str, size: int) -> Volume:
        volume = await self.find(name)
        whole = volume.size > 0 and volume.allocated >= volume.size
        if size <= volume.size or volume.format is not DiskFormat.RAW:
            return volume
        await self._need(None, size - volume.size if whole else 0)
        return self._put(replace(volume, size=size, allocated=size if whole else volume.allocated))

    async def shrink(self, name: str, size: int) -> Volume:
        volume = await self.find(name)
        self._fail()
        return self._put(replace(volume, size=size, allocated=min(volume.allocated, size)))

    async def clone(self, name: str, new: str) -> Volume:
        check_volume_name(new)
        base = await self.find(name)
        await self._need(new, 0)
        path = _path(self.config.target, new)
        return self._put(
            replace(base, name=new, format=DiskFormat.QCOW2, allocated=0, path=path, backing=base.name)
        )

    async def snapshot(self, name: str, kept: str) -> Volume:
        check_volume_name(kept)
        volume = await self.find(name)
        await self._need(kept, 0)
        made = self._put(replace(volume, name=kept, path=self._new_path(kept)))
        self._medium.data[made.path] = self._medium.seen(volume)
        return made

    async def layer(self, new: str, on: str, *, now: str | None = None) -> Volume:
        check_volume_name(new)
        below = await self.find(on if on in self._medium.volumes or now is None else now)
        await self._need(new, 0)
        path = self._new_path(new)
        return self._put(replace(below, name=new, format=DiskFormat.QCOW2, allocated=0, path=path, backing=on))

    async def rename(self, name: str, new: str) -> Volume:
        check_volume_name(new)
        if name in self._medium.volumes or new not in self._medium.volumes:
            volume = await self.find(name)
            await self._need(new, 0)
            del self._medium.volumes[name]
            self._put(replace(volume, name=new))
        return await self.find(new)

    async def remove(self, name: str) -> None:
        above = [volume.name for volume in self._medium.volumes.values() if volume.backing == name]
        if above:
            raise ResourceBusy(f"{self.config.name}/{name} is what {', '.join(above)} stand on")
        if name in self._medium.volumes:
            self._fail()
            if Capability.CREATE not in self.capabilities:
                raise BadInput(f"{self.config.name} removes no devices")
            self._medium.data.pop(self._medium.volumes.pop(name).path, None)

    async def activate(self, name: str) -> Volume:
        return await self.find(name)

    async def deactivate(self, name: str) -> None:
        """Nothing is active."""

    async def tidy(self) -> tuple[str, ...]:
        parts, self._medium.parts = self._medium.parts, []
        return tuple(f"{part} was left by something that did not finish, and is gone" for part in parts)

    async def close(self) -> None:
        """Nothing is held."""

    async def _need(self, name: str | None, room: int) -> None:
        if name in self._medium.volumes:
            raise NameInUse(f"there is a volume {self.config.name}/{name} already")
        self._fail()
        available = (await self.usage()).available
        if room > available:
            raise Shortage(
                f"it needs {room // MIB} MiB and {self.config.name} has {available // MIB} MiB left",
                hint="wirt pool list shows which pool has room",
            )

    def _new_path(self, name: str) -> str:
        self._medium.images += 1
        return _path(self.config.target, f"{name}.{self._medium.images}")

    def _put(self, volume: Volume) -> Volume:
        self._medium.volumes[volume.name] = volume
        return volume

    def _fail(self) -> None:
        if self._medium.failures:
            raise self._medium.failures.pop(0)


class FakeStorage:
    """``media`` by target: two hosts that are given the same ones share their pools. ``lacking``: what none of
    the pools can do. ``devices``: targets whose pools make and remove no volumes. ``grounds``: what pools lie on,
    by target; of others nothing is known. ``stamped``: files that are in no pool, with their stamps."""

    def __init__(self, media: dict[str, FakeMedium] | None = None) -> None:
        self.lacking = {Capability.SNAPSHOT}
        self.devices: set[str] = set()
        self.grounds: dict[str, Medium] = {}
        self.media: dict[str, FakeMedium] = {} if media is None else media
        self.stamped: dict[str, str] = {}

    def types(self) -> tuple[PoolType, ...]:
        return (PoolType.FAKE,)

    def reason(self, pool_type: PoolType) -> str | None:
        return None if pool_type is PoolType.FAKE else "this host keeps its pools in memory"

    async def make(self, config: PoolConfig) -> bool:
        new = config.target not in self.media
        self.media.setdefault(config.target, FakeMedium())
        return new

    async def unmake(self, config: PoolConfig) -> None:
        medium = self.media.get(config.target)
        if medium is not None and not medium.volumes:
            del self.media[config.target]

    async def identify(self, paths: Collection[str]) -> Mapping[str, Identity]:
        return {path: Identity(path) for path in paths}

    async def media_of(self, paths: Collection[str]) -> Mapping[str, Medium]:
        grounds = self.grounds.items()
        return {path: on for path in paths for target, on in grounds if path.startswith(_path(target, ""))}

    async def lay_proof(self, path: str, token: str) -> bool:
        medium = self._with(path)
        if medium is not None:
            medium.proofs.add(token)
        return medium is not None

    async def sees_proof(self, path: str, token: str) -> bool:
        medium = self._with(path)
        return medium is not None and token in medium.proofs

    async def take_proof(self, path: str, token: str) -> None:
        for medium in self.media.values():
            medium.proofs.discard(token)

    def _with(self, path: str) -> FakeMedium | None:
        return next((m for m in self.media.values() if any(v.path == path for v in m.volumes.values())), None)

    async def stamps(self, paths: Collection[str]) -> Mapping[str, str]:
        """Of what is in pools, and of ``stamped``."""
        return {path: stamp for path, stamp in self.stamped.items() if path in paths} | {
            volume.path: str(sorted(medium.data.get(volume.path, {}).items()))
            for medium in self.media.values()
            for volume in medium.volumes.values()
            if volume.path in paths
        }

    async def open(self, config: PoolConfig) -> FakePool:
        if config.target not in self.media:
            raise NotFound(f"there is nothing at {config.target}", hint="wirt pool create makes it")
        able = set(Capability) - {Capability.SHARED} - self.lacking
        if config.target in self.devices:
            able -= {Capability.CREATE}
        shared = {Capability.SHARED} if config.source is not None else set()
        return FakePool(config, self.media[config.target], frozenset(able | shared))


@dataclass(slots=True)
class FakeImageTool:
    """``images`` by path: what others' files are. ``contents``: of what conversions have written, the path that it
    came from in the end."""

    images: dict[str, ImageFacts] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    failures: list[WirtError] = field(default_factory=list)
    media: Mapping[str, FakeMedium] = field(default_factory=dict)
    """The pools' own, for what changes a volume's header."""

    async def inspect(self, path: str, format_: ImageFormat | DiskFormat | None = None) -> ImageFacts:
        if path not in self.images:
            raise NotFound(f"{path}: no such file or directory")
        return self.images[path]

    async def chain(self, volume: Volume) -> tuple[str, ...]:
        for medium in self.media.values():
            if medium.volumes.get(volume.name) == volume:
                below = medium.volumes.get(volume.backing or "")
                return () if below is None else (below.path, *await self.chain(below))
        return ()

    async def convert(
        self,
        source: Volume | Image,
        target: Volume | Image,
        progress: Progress,
        *,
        bytes_per_s: int | None = None,
    ) -> None:
        progress(0.5)
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self.contents[target.path] = self.contents.get(source.path, source.path)
        progress(1.0)

    async def write(
        self,
        source: Volume | Image,
        target: Image,
        progress: Progress,
        *,
        options: Mapping[str, str] | None = None,
    ) -> None:
        if target.path in self.images:
            raise NameInUse(f"there is a file {target.path}")
        await self.convert(source, target, progress)
        size = source.size if isinstance(source, Volume) else self.images[source.path].size
        self.images[target.path] = ImageFacts(target.format, size, 0)

    async def resize(self, volume: Volume, size: int) -> None:
        if self.failures:
            raise self.failures.pop(0)

    async def commit(self, volume: Volume, progress: Progress) -> None:
        if volume.backing is None:
            raise BadInput(f"{volume.reference} stands on nothing")
        progress(0.5)
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        for medium in self.media.values():
            if medium.volumes.get(volume.name) == volume:
                medium.merge(volume.path, medium.volumes[volume.backing].path)

    async def point(self, volume: Volume, below: Volume) -> None:
        if self.failures:
            raise self.failures.pop(0)
        for medium in self.media.values():
            for name, each in medium.volumes.items():
                if each.path == volume.path:
                    medium.volumes[name] = replace(each, backing=below.name)

    async def check(self, path: str, format_: DiskFormat) -> tuple[str, ...]:
        return ()


@dataclass(slots=True)
class FakeSeeds:
    """``written``: what each seed says, by the path of its volume."""

    written: dict[str, bytes] = field(default_factory=dict)
    failures: list[WirtError] = field(default_factory=list)

    async def image(self, label: str, files: Mapping[str, bytes]) -> bytes:
        return b"\0".join((label.encode(), *(b"\n".join((name.encode(), files[name])) for name in sorted(files))))

    async def write(self, image: bytes, volume: Volume) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.written[volume.path] = image
