"""``wirt restore-backup``: the disks of a backup into new volumes, and a domain that has them.

The volumes are this job's until it is done. The domain is new, or, with ``replace``, the one that the backup is
of, which is off: it has the new volumes then, and its old ones stay where they are.

Arguments that the steps read: ``path`` and ``backup``; ``volumes`` to make, by ``vdev``, each with its ``size``
and ``format``; ``uuid`` and ``text`` of the domain, without which there is none; ``replace``. Notes that they
write: ``absent`` and ``made``.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace as changed
from pathlib import PurePosixPath
from threading import Event
from typing import Any
from uuid import UUID

from wirt.config.xlcfg import load, vif_entries, with_value, with_volumes
from wirt.model.devices import DiskFormat
from wirt.model.domain import Domain, Wanted
from wirt.model.errors import IllegalState, NameInUse, NotFound, ResourceBusy
from wirt.model.job import Job, Recovery
from wirt.model.storage import Holder, VolumeRef
from wirt.operations.backup_places import Found, backups, find, open_place, path_of
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.pools import DEFAULT_POOL
from wirt.operations.running import EnvContext
from wirt.operations.volumes import check_room
from wirt.operations.volumes_domain import names_of
from wirt.operations.volumes_room import told_if_full
from wirt.operations.volumes_steps import check_absent, check_can_create, release, remove_volumes
from wirt.plan.backup import Backup, DiskBackup
from wirt.ports.backup_store import Work
from wirt.ports.storage import NewVolume
from wirt.ports.threads import in_thread

_MAC_KEYS = ("mac",)


async def restore(
    environment: Environment,
    backup: str,
    cwd: str,
    *,
    source: str | None = None,
    name: str | None = None,
    pool: str | None = None,
    disk: str | None = None,
    replace: bool = False,
) -> Job:
    """``source`` is the place, ``None`` for any that is known. With ``disk`` that one only, and no domain."""
    found = await find(environment, backup, None if source is None else await path_of(environment, source, cwd))
    made = found.backup
    if disk is not None and made.disk(disk) is None:
        has = ", ".join(each.vdev for each in made.disks)
        raise NotFound(f"backup {made.id} has no disk {disk}", hint=f"it has {has}")
    name = name or made.domain
    arguments = await volumes_for(environment, found, name, pool or DEFAULT_POOL, disk)
    if disk is None:
        arguments |= _domain(environment, made, name, arguments["volumes"], replace=replace)
    return await environment.jobs.submit(JobKind.BACKUP_RESTORE, f"restore {name}", arguments)


async def volumes_for(
    environment: Environment, found: Found, name: str, pool_name: str, disk: str | None = None
) -> dict[str, Any]:
    """Arguments of a job that makes them: names that nobody has yet."""
    environment.pools.check_open_to_all(pool_name)
    pool = await environment.pools.open(pool_name)
    there = {volume.name for volume in await pool.volumes()}
    volumes: dict[str, dict[str, Any]] = {}
    for each in found.backup.disks:
        if disk is not None and each.vdev != disk:
            continue
        format_ = check_can_create(pool, _format(each, tuple(pool.formats)))
        wanted = _free(f"{name}-{each.vdev}", there)
        there.add(wanted)
        volumes[each.vdev] = {"volume": f"{pool_name}/{wanted}", "size": each.size, "format": str(format_)}
    await check_room(pool, 0)
    return {"path": found.path, "backup": found.backup.id, "volumes": volumes}


def _format(disk: DiskBackup, formats: tuple[DiskFormat, ...]) -> DiskFormat | None:
    return DiskFormat(disk.format) if disk.format in formats else None


def _free(name: str, there: set[str]) -> str:
    number, wanted = 2, name
    while wanted in there:
        wanted, number = f"{name}-{number}", number + 1
    return wanted


def _domain(
    environment: Environment, made: Backup, name: str, volumes: dict[str, dict[str, Any]], *, replace: bool
) -> dict[str, Any]:
    there = environment.domains.named(name)
    if not replace:
        if there is not None or name == "Domain-0":
            raise NameInUse(
                f"there is a domain called {name} already",
                hint="--name another, or --replace to give that one these disks (it must be off)",
            )
        uuid = environment.new_uuid()
        return {"uuid": str(uuid), "text": _text(made, name, volumes, uuid, new=name != made.domain)}
    domain = environment.domains.get(UUID(made.uuid)) or there
    if domain is None:
        raise NotFound(f"there is no domain {name} whose place it could take", hint="leave --replace out")
    if domain.incarnation is not None:
        raise IllegalState(f"domain {domain.name} is {domain.state}", hint=f"wirt shutdown {domain.name} first")
    return {
        "uuid": str(domain.uuid),
        "replace": True,
        "text": _text(made, domain.name, volumes, domain.uuid, new=False),
    }


def _text(made: Backup, name: str, volumes: dict[str, dict[str, Any]], uuid: UUID, *, new: bool) -> str:
    """``new``: the domain that was backed up may still be there, so the cards get other addresses than its own."""
    text = with_value(with_value(made.config, "name", name), "uuid", str(uuid))
    text = with_volumes(text, {vdev: f"pool:{each['volume']}" for vdev, each in volumes.items()})
    if new:
        text = without_addresses(text)
    load(text, file=f"backup:{made.id}", cwd=PurePosixPath("/"))
    return text


def without_addresses(text: str) -> str:
    """Cards without ``mac=``, which are given new ones."""
    entries = [
        ",".join(word for word in entry.split(",") if word.partition("=")[0].strip() not in _MAC_KEYS)
        for entry in vif_entries(text)
    ]
    return with_value(text, "vif", entries) if entries else text


# The steps


def volumes_of(context: EnvContext) -> dict[str, VolumeRef]:
    return {vdev: VolumeRef.parse(each["volume"]) for vdev, each in context.job.arguments["volumes"].items()}


async def reserve(context: EnvContext) -> None:
    environment, holders = context.environment, context.environment.pools.holders
    refs = volumes_of(context).values()
    for ref in refs:
        environment.pools.check_open_to_all(ref.pool)
    await holders.claim(dict.fromkeys(refs, Holder(holders.host, job=context.job.id)), names_of(environment))
    if not context.job.notes.get("absent"):
        for ref in refs:
            await check_absent(await environment.pools.open(ref.pool), ref.volume)
        await context.note(absent=True)


async def make(context: EnvContext) -> None:
    environment = context.environment
    for vdev, ref in volumes_of(context).items():
        each = context.job.arguments["volumes"][vdev]
        pool = await environment.pools.open(ref.pool)
        await pool.create(NewVolume(ref.volume, each["size"], DiskFormat(each["format"])))


async def unmake(context: EnvContext) -> None:
    """What this job made was not there before it."""
    environment, holders = context.environment, context.environment.pools.holders
    if not context.job.notes.get("absent"):
        return
    for ref in volumes_of(context).values():
        try:
            await holders.claim({ref: Holder(holders.host, job=context.job.id)}, names_of(environment))
        except ResourceBusy:
            continue  # it was finished and released, and someone has it now
        await remove_volumes(environment, [ref])


async def fill(context: EnvContext) -> None:
    """Every byte's checksum is compared on the way."""
    environment, arguments = context.environment, context.job.arguments
    store = await open_place(environment, arguments["path"])
    backup = await in_thread(None, store.find, arguments["backup"])
    work = watched(context, sum(each["size"] for each in arguments["volumes"].values()), 0.1, 0.8)
    for vdev, ref in volumes_of(context).items():
        volume = await environment.pools.activate(ref)
        try:
            async with (
                told_if_full(environment, ref),
                backups(environment).disks.serve(volume, writable=True) as blocks,
            ):
                await in_thread(work.stop, store.restore, backup, vdev, blocks, work)
        finally:
            await environment.pools.deactivate(ref)


def watched(context: EnvContext, total: int, begin: float, end: float) -> Work:
    """Told of on the bar from ``begin`` to ``end``."""
    loop, done = asyncio.get_running_loop(), [0]

    def tell(size: int) -> None:
        done[0] += size
        share = min(1.0, done[0] / max(1, total))
        loop.call_soon_threadsafe(context.progress, f"{share:.0%}", begin + share * (end - begin))

    return Work(Event(), tell)


async def _define(context: EnvContext) -> None:
    """From here on it is a domain's: a new one's, or that of one whose disks were others before."""
    environment, arguments = context.environment, context.job.arguments
    if "uuid" not in arguments:
        return
    uuid = UUID(arguments["uuid"])
    config = load(arguments["text"], file="<stored>", cwd=PurePosixPath("/")).config
    if arguments.get("replace"):
        domain = environment.domains.get(uuid)
        if domain is None or domain.incarnation is not None:
            raise IllegalState("the domain was started or forgotten meanwhile", hint="try again")
        await context.note(before=domain.text)
        environment.tell(await environment.domains.change(uuid, config=config, text=arguments["text"]))
        return
    domain = Domain(
        uuid=uuid,
        config=config,
        text=arguments["text"],
        persistent=True,
        wanted=Wanted.OFF,
        created_at=environment.clock.now(),
        created_by=context.job.id,
    )
    environment.tell(await environment.domains.add(domain))


async def _undefine(context: EnvContext) -> None:
    environment, arguments = context.environment, context.job.arguments
    domain = environment.domains.get(UUID(arguments["uuid"])) if "uuid" in arguments else None
    if domain is None:
        return
    if arguments.get("replace"):
        before = context.job.notes.get("before")
        if before is not None and domain.text == arguments["text"]:
            config = load(before, file="<stored>", cwd=PurePosixPath("/")).config
            environment.tell(await environment.domains.change(domain.uuid, config=config, text=before))
    elif domain.created_by == context.job.id:
        await environment.domains.remove(domain.uuid)
        environment.tell(changed(domain, incarnation=None), reason="not restored")


async def _finish(context: EnvContext) -> None:
    environment, arguments = context.environment, context.job.arguments
    await release(context)
    volumes = {vdev: str(ref) for vdev, ref in volumes_of(context).items()}
    result: dict[str, Any] = {"backup": arguments["backup"], "volumes": volumes}
    if "uuid" in arguments:
        domain = environment.domains.get(UUID(arguments["uuid"]))
        result |= {"domain": domain.name if domain is not None else None, "uuid": arguments["uuid"]}
    before = context.job.notes.get("before")
    if before is not None:
        disks = load(before, file="<stored>", cwd=PurePosixPath("/")).config.disks
        result["left"] = [disk.target for disk in disks if disk.vdev in volumes and disk.target is not None]
    await context.note(result=result)
    environment.bus.publish(
        "backup", context.job.subject, None, {"backup": arguments["backup"], "change": "restored"}
    )


RESTORE = Operation(
    JobKind.BACKUP_RESTORE,
    (
        Step("reserve", reserve, release),
        Step("make", make, unmake),
        Step("fill", fill, nothing_to_undo, interruptible=True),
        Step("define", _define, _undefine),
        Step("finish", _finish, nothing_to_undo),
    ),
    recovery=Recovery.UNDO,
)
