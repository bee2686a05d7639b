"""``wirt import``: a domain with a configuration and disks of its own, from an appliance.

Arguments that the steps read: ``uuid``, ``name`` and ``config`` of the domain; ``package``, what was looked at;
``disks``, what is made of it. Notes that they write: ``absent``, once it is known that none of the volumes was
there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from wirt.config.xlcfg import Loaded, load
from wirt.config.xlcfg.meaning import name_fault
from wirt.model.appliance import Appliance
from wirt.model.devices import DiskFormat
from wirt.model.domain import Domain, Wanted
from wirt.model.errors import BadInput, NameInUse, NotFound, ResourceBusy, Unavailable
from wirt.model.job import Job, Recovery
from wirt.model.storage import Holder, ImageFormat, VolumeRef
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.running import EnvContext
from wirt.operations.volumes import check_room
from wirt.operations.volumes_domain import names_of
from wirt.operations.volumes_room import told_if_full
from wirt.operations.volumes_steps import check_absent, check_can_create, owners, release, remove_volumes, tell
from wirt.plan.imports import Here, ImportPlan, ImportWish, NewDisk, plan_import
from wirt.ports.appliances import Appliances, Found, Package
from wirt.ports.storage import NewVolume

_CHECKED, _FILLED = 0.2, 0.95


@dataclass(frozen=True, slots=True)
class ImportPreview:
    """``text`` is the configuration as it is stored."""

    found: Found
    plan: ImportPlan
    text: str


async def preview(
    environment: Environment,
    path: str,
    wish: ImportWish,
    file_format: ImageFormat | None = None,
    machine: str = "",
) -> ImportPreview:
    """What :func:`import_domain` would do, and nothing done. Raises what it would."""
    environment.pools.check_open_to_all(wish.pool)
    pool = await environment.pools.open(wish.pool)
    form = check_can_create(pool, wish.format)
    if wish.name:
        _check_name(environment, wish.name)
    found = await reader(environment).look(path, file_format, machine)
    plan = plan_import(found.appliance, wish, _here(environment, form))
    _check_name(environment, plan.name)
    for disk in plan.disks:
        VolumeRef.parse(str(disk.volume))
        check_can_create(pool, disk.format)
        await check_absent(pool, disk.volume.volume)
    await check_room(pool, _stored(found.appliance))
    return ImportPreview(found, plan, _load(environment, plan.config, plan.name).text)


async def import_domain(
    environment: Environment,
    path: str,
    wish: ImportWish,
    file_format: ImageFormat | None = None,
    machine: str = "",
) -> Job:
    """What can be known to be wrong is raised now, before there is a job. ``machine``: which of several it is."""
    found = await preview(environment, path, wish, file_format, machine)
    package, plan = found.found.package, found.plan
    arguments = {
        "uuid": str(environment.new_uuid()),
        "name": plan.name,
        "config": found.text,
        "package": {
            "path": package.path,
            "stamp": package.stamp,
            "files": list(package.files),
            "format": None if package.format is None else str(package.format),
            "machine": package.machine,
        },
        "signed": found.found.appliance.signed,
        "disks": [_stored_disk(disk) for disk in plan.disks],
        "lost": list(plan.lost),
    }
    return await environment.jobs.submit(JobKind.IMPORT, plan.name, arguments)


def reader(environment: Environment) -> Appliances:
    if environment.appliances is None:
        raise Unavailable("this host can't read appliances")
    return environment.appliances


def _stored(appliance: Appliance) -> int:
    """Bytes that come at least."""
    return sum(disk.stored for disk in appliance.disks if disk.file is not None)


def _here(environment: Environment, form: DiskFormat) -> Here:
    macs = [vif.mac for domain in environment.domains for vif in domain.config.vifs if vif.mac is not None]
    networks = [network.config.name for network in environment.networks if not network.leaving]
    return Here(networks, macs, form)


def _check_name(environment: Environment, name: str) -> None:
    fault = name_fault(name)
    if fault is not None:
        raise BadInput(fault, hint="--name NAME")
    if environment.domains.named(name) is not None:
        raise NameInUse(f"there is a domain called {name} already", hint="choose another: --name OTHER")


def _load(environment: Environment, text: str, name: str) -> Loaded:
    return load(text, file=name, cwd=PurePosixPath("/"), pools=environment.pools.names())


# The steps


def _stored_disk(disk: NewDisk) -> dict[str, Any]:
    return {
        "volume": str(disk.volume),
        "size": disk.size,
        "format": str(disk.format),
        "label": disk.label,
        "source": disk.source,
        "source-format": str(disk.source_format),
    }


def _disks(context: EnvContext) -> list[NewDisk]:
    return [
        NewDisk(
            volume=VolumeRef.parse(each["volume"]),
            size=each["size"],
            format=DiskFormat(each["format"]),
            label=each["label"],
            source=each["source"],
            source_format=ImageFormat(each["source-format"]),
        )
        for each in context.job.arguments["disks"]
    ]


def _package(context: EnvContext) -> Package:
    said = context.job.arguments["package"]
    form = None if said["format"] is None else ImageFormat(said["format"])
    return Package(said["path"], said["stamp"], tuple(said["files"]), form, said.get("machine", ""))


def _uuid(context: EnvContext) -> UUID:
    return UUID(context.job.arguments["uuid"])


async def _reserve(context: EnvContext) -> None:
    """The volumes are this job's from here on; they are not there yet."""
    environment = context.environment
    _check_name(environment, context.job.arguments["name"])
    await _claim(context, [disk.volume for disk in _disks(context)])
    if not context.job.notes.get("absent"):
        for disk in _disks(context):
            await check_absent(await environment.pools.open(disk.volume.pool), disk.volume.volume)
        await context.note(absent=True)


async def _claim(context: EnvContext, volumes: list[VolumeRef]) -> None:
    environment = context.environment
    for ref in volumes:
        environment.pools.check_open_to_all(ref.pool)
    holder = Holder(environment.pools.holders.host, job=context.job.id)
    await environment.pools.holders.claim(dict.fromkeys(volumes, holder), names_of(environment))


async def _check(context: EnvContext) -> None:
    """Before anything is made of it."""

    def tell_share(share: float) -> None:
        context.progress(f"checking: {share:.0%}", share * _CHECKED)

    if context.job.arguments["signed"]:
        await reader(context.environment).check(_package(context), tell_share)


async def _make(context: EnvContext) -> None:
    for disk in _disks(context):
        pool = await context.environment.pools.open(disk.volume.pool)
        if context.repeated:
            try:
                await pool.find(disk.volume.volume)
            except NotFound:
                pass
            else:
                continue
        await pool.create(NewVolume(disk.volume.volume, disk.size, disk.format))


async def _unmake(context: EnvContext) -> None:
    """What this job made: none of it was there before."""
    environment = context.environment
    if not context.job.notes.get("absent"):
        return
    for disk in reversed(_disks(context)):
        try:
            await _claim(context, [disk.volume])
        except ResourceBusy:
            continue  # it was finished and released, and someone has it now
        if owners(environment, disk.volume):
            continue
        await remove_volumes(environment, [disk.volume])


async def _fill(context: EnvContext) -> None:
    """What was copied before a crash is copied again: the volumes are nobody's yet."""
    environment, package, disks = context.environment, _package(context), _disks(context)
    total = sum(disk.size for disk in disks)
    before = 0
    for disk in disks:

        def tell_share(share: float, disk: NewDisk = disk, before: int = before) -> None:
            done = (before + share * disk.size) / total
            context.progress(f"copying {disk.label}: {share:.0%}", _CHECKED + done * (_FILLED - _CHECKED))

        if disk.source is not None:
            target = await environment.pools.activate(disk.volume)
            async with told_if_full(environment, disk.volume):
                await reader(environment).pour(package, disk.source, disk.source_format, target, tell_share)
            await environment.pools.deactivate(disk.volume)
        before += disk.size


async def _empty(context: EnvContext) -> None:
    """What is in the volumes goes with them."""
    for disk in _disks(context):
        await context.environment.pools.deactivate(disk.volume)


async def _define(context: EnvContext) -> None:
    """Nobody sees the domain before its disks are whole."""
    environment, uuid = context.environment, _uuid(context)
    if environment.domains.get(uuid) is not None:
        return
    text = context.job.arguments["config"]
    domain = Domain(
        uuid=uuid,
        config=load(text, file="<stored>", cwd=PurePosixPath("/")).config,
        text=text,
        persistent=True,
        wanted=Wanted.OFF,
        created_at=environment.clock.now(),
        created_by=context.job.id,
    )
    environment.tell(await environment.domains.add(domain))


async def _undefine(context: EnvContext) -> None:
    environment, uuid = context.environment, _uuid(context)
    domain = environment.domains.get(uuid)
    if domain is not None and domain.created_by == context.job.id and domain.incarnation is None:
        await environment.domains.remove(uuid)
        environment.tell(domain, reason="not imported")


async def _finish(context: EnvContext) -> None:
    arguments, volumes = context.job.arguments, [disk.volume for disk in _disks(context)]
    await release(context)
    await context.note(
        result={
            "name": arguments["name"],
            "uuid": arguments["uuid"],
            "volumes": [str(ref) for ref in volumes],
            "lost": arguments["lost"],
        }
    )
    for ref in volumes:
        tell(context.environment, ref, str(context.job.kind))


IMPORT = Operation(
    JobKind.IMPORT,
    (
        Step("reserve", _reserve, release),
        Step("check", _check, nothing_to_undo, interruptible=True),
        Step("make", _make, _unmake),
        Step("fill", _fill, _empty, interruptible=True),
        Step("define", _define, _undefine),
        Step("release", _finish, nothing_to_undo),
    ),
    recovery=Recovery.UNDO,
)
