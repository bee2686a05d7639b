"""Routes under ``/v1/pools`` and ``/v1/volumes``."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query, Response

from wirt.api import convert
from wirt.api.jobs import job_reply
from wirt.api.reply import reply
from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, WirtError
from wirt.model.storage import (
    ImageFormat,
    PoolConfig,
    PoolType,
    Preallocation,
    StoragePool,
    Volume,
    VolumeRef,
    parse_size,
)
from wirt.operations import engines, pools_verbs, volumes, volumes_copy
from wirt.operations.environment import Environment
from wirt.operations.volumes_domain import names_of
from wirt.operations.volumes_steps import owners
from wirt.wire import v1
from wirt.wire import v1_storage as wire

LOOK_S = 15.0
_E = TypeVar("_E", bound=StrEnum)


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["storage"])
    _pools(routes, environment)
    _reading(routes, environment)
    _making(routes, environment)
    _copying(routes, environment)
    return routes


def _pools(routes: APIRouter, environment: Environment) -> None:
    @routes.get("/pools", response_model=wire.PoolList)
    async def list_pools() -> Response:
        """``default`` always comes first; it is made when it is first used."""
        pools = await asyncio.gather(*(_pool(environment, pool) for pool in environment.pools))
        types = [
            wire.PoolType(str(each), environment.pools.storage.reason(each))
            for each in PoolType
            if each is not PoolType.FAKE
        ]
        return reply(wire.PoolList(list(pools), types))

    @routes.post("/pools", response_model=v1.Job)
    async def create(request: wire.PoolRequest, wait: bool = False) -> Response:
        """Make a pool known, of what is there; a directory is made."""
        kind = _word(PoolType, request.type, "type of pools")
        config = PoolConfig(request.name, kind, request.target, request.source, request.options)
        return await job_reply(environment, await pools_verbs.create(environment, config), wait)

    @routes.get("/pools/{name}", response_model=wire.PoolDetail)
    async def show(name: str) -> Response:
        """One pool, with its volumes."""
        pool = await _pool(environment, environment.pools.find(name))
        found = await _volumes(environment, name) if pool.problem is None else []
        return reply(wire.PoolDetail(pool, found))

    @routes.post("/pools/{name}/refresh", response_model=wire.PoolDetail)
    async def refresh(name: str) -> Response:
        """Look at it anew, and take away what interrupted work left."""
        done = await pools_verbs.refresh(environment, name)
        pool = await _pool(environment, environment.pools.find(name))
        return reply(wire.PoolDetail(pool, await _volumes(environment, name), list(done.tidied)))

    @routes.post("/pools/{name}/destroy", response_model=v1.Job)
    async def destroy(
        name: str, wait: bool = False, delete_volumes: Annotated[bool, Query(alias="delete-volumes")] = False
    ) -> Response:
        """Forget a pool. What is in it stays, unless it is to be deleted."""
        job = await pools_verbs.destroy(environment, name, delete_volumes=delete_volumes)
        return await job_reply(environment, job, wait)


def _reading(routes: APIRouter, environment: Environment) -> None:
    @routes.get("/volumes", response_model=wire.VolumeList)
    async def list_volumes(pool: Annotated[str | None, Query()] = None) -> Response:
        """Of one pool, or of all that can be reached."""
        if pool is not None:
            return reply(wire.VolumeList(await _volumes(environment, pool)))
        found = []
        for each in environment.pools:
            if (await _pool(environment, each)).problem is None:
                found += await _volumes(environment, each.name)
        return reply(wire.VolumeList(found))

    @routes.get("/volumes/{pool}/{name}", response_model=wire.Volume)
    async def show(pool: str, name: str) -> Response:
        """One volume, with those who have it, and how it would be served to a guest."""
        volume = await environment.pools.volume(_ref(pool, name))
        choices = await engines.choices(environment, volume)
        chosen = [wire.DiskChoice(each.what, each.choice, each.reason) for each in choices]
        return reply(replace(_volume(environment, volume), engine=chosen))


def _making(routes: APIRouter, environment: Environment) -> None:
    @routes.post("/volumes/{pool}/{name}", response_model=v1.Job)
    async def create(pool: str, name: str, request: wire.VolumeRequest, wait: bool = False) -> Response:
        """Make a volume, which reads as zeroes."""
        job = await volumes.create(
            environment,
            _ref(pool, name),
            parse_size(request.size),
            format_=disk_format(request.format),
            preallocation=_word(Preallocation, request.preallocation, "preallocation"),
        )
        return await job_reply(environment, job, wait)

    @routes.post("/volumes/{pool}/{name}/resize", response_model=v1.Job)
    async def resize(pool: str, name: str, request: wire.VolumeResize, wait: bool = False) -> Response:
        """A guest that runs sees the new size at once. Smaller only when forced and not in use."""
        size = parse_size(request.size)
        job = await volumes.resize(environment, _ref(pool, name), size, force=request.force)
        return await job_reply(environment, job, wait)

    @routes.post("/volumes/{pool}/{name}/clone", response_model=v1.Job)
    async def clone(pool: str, name: str, request: wire.VolumeTarget, wait: bool = False) -> Response:
        """A volume of the same pool that shares what neither has written since."""
        new = request.target.removeprefix(f"{pool}/")
        return await job_reply(environment, await volumes.clone(environment, _ref(pool, name), new), wait)

    @routes.post("/volumes/{pool}/{name}/destroy", response_model=v1.Job)
    async def destroy(pool: str, name: str, wait: bool = False) -> Response:
        """Remove a volume that no domain has."""
        return await job_reply(environment, await volumes.destroy(environment, _ref(pool, name)), wait)


def _copying(routes: APIRouter, environment: Environment) -> None:
    @routes.post("/volumes/{pool}/{name}/copy", response_model=v1.Job)
    async def copy(pool: str, name: str, request: wire.VolumeTarget, wait: bool = False) -> Response:
        """An independent volume with the same content."""
        job = await volumes_copy.copy(
            environment,
            _ref(pool, name),
            VolumeRef.parse(request.target),
            format_=disk_format(request.format),
            preallocation=_word(Preallocation, request.preallocation, "preallocation"),
            bytes_per_s=_rate(request),
            overwrite=request.overwrite,
        )
        return await job_reply(environment, job, wait)

    @routes.post("/volumes/{pool}/{name}/move", response_model=v1.Job)
    async def move(pool: str, name: str, request: wire.VolumeTarget, wait: bool = False) -> Response:
        """A copy that takes the place of the volume. The domains that have it are off, and have the copy then."""
        job = await volumes_copy.move(
            environment,
            _ref(pool, name),
            VolumeRef.parse(request.target),
            format_=disk_format(request.format),
            bytes_per_s=_rate(request),
            overwrite=request.overwrite,
        )
        return await job_reply(environment, job, wait)

    @routes.post("/volumes/{pool}/{name}/import", response_model=v1.Job)
    async def import_file(pool: str, name: str, request: wire.VolumeFile, wait: bool = False) -> Response:
        """A new volume with the content of an image file."""
        job = await volumes_copy.import_file(
            environment,
            _absolute(request.file),
            _ref(pool, name),
            source_format=_image_format(request.file_format),
            format_=disk_format(request.format),
            overwrite=request.overwrite,
        )
        return await job_reply(environment, job, wait)

    @routes.post("/volumes/{pool}/{name}/export", response_model=v1.Job)
    async def export_file(pool: str, name: str, request: wire.VolumeFile, wait: bool = False) -> Response:
        """A new image file with the content of a volume."""
        format_ = _image_format(request.file_format) or ImageFormat.RAW
        path = _absolute(request.file)
        job = await volumes_copy.export_file(environment, _ref(pool, name), path, format_)
        return await job_reply(environment, job, wait)


async def _pool(environment: Environment, record: StoragePool) -> wire.Pool:
    config = record.config
    known = wire.Pool(
        name=config.name,
        type=str(config.type),
        target=config.target,
        state="leaving" if record.leaving else "ready",
        source=config.source,
        options=config.options,
    )
    try:
        async with asyncio.timeout(LOOK_S):
            pool = await environment.pools.open(config.name)
            usage = await pool.usage()
            lies_on = await pool.file_system()
    except (WirtError, TimeoutError) as error:
        problem = str(error) if isinstance(error, WirtError) else f"it did not answer for {LOOK_S:g} s"
        return wire.Pool(**{**convert.plain(known), "state": "unavailable", "problem": problem})
    return wire.Pool(
        **{
            **convert.plain(known),
            "capabilities": sorted(pool.capabilities),
            "formats": [str(each) for each in pool.formats],
            "capacity": usage.capacity,
            "available": usage.available,
            "allocated": usage.allocated,
            "promised": usage.promised,
            "file_system": None if lies_on is None else lies_on.kind,
            "abilities": [] if lies_on is None else list(lies_on.abilities),
        }
    )


async def _volumes(environment: Environment, pool: str) -> list[wire.Volume]:
    found = await (await environment.pools.open(pool)).volumes()
    return [_volume(environment, volume) for volume in found]


def _volume(environment: Environment, volume: Volume) -> wire.Volume:
    ref, names = VolumeRef(volume.pool, volume.name), names_of(environment)
    holders = [
        wire.VolumeHolder(each.host, names.get(each.domain or "", each.domain), each.job, each.writes)
        for each in environment.pools.holders.of(ref)
    ]
    return wire.Volume(
        pool=volume.pool,
        name=volume.name,
        reference=volume.reference,
        format=str(volume.format),
        size=volume.size,
        allocated=volume.allocated,
        path=volume.path,
        backing=volume.backing,
        holders=holders,
        domains=[domain.name for domain in owners(environment, ref)],
    )


def _ref(pool: str, name: str) -> VolumeRef:
    return VolumeRef.parse(f"{pool}/{name}")


def _word(kind: type[_E], word: str, what: str) -> _E:
    known = [each.value for each in kind if each.value != PoolType.FAKE]
    try:
        return kind(word)
    except ValueError:
        raise BadInput(f"{word!r} is no {what}", hint=f"there are {', '.join(known)}") from None


def disk_format(word: str | None) -> DiskFormat | None:
    return None if word is None else _word(DiskFormat, word, "format of disks")


def _image_format(word: str | None) -> ImageFormat | None:
    return None if word is None else _word(ImageFormat, word, "format of image files")


def _rate(request: wire.VolumeTarget) -> int | None:
    return None if request.bytes_per_s is None else parse_size(request.bytes_per_s)


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise BadInput(f"{path!r} is no absolute path")
    return path
