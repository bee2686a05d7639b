"""``wirt backup create``: the disks of a domain, as they are at one instant, into a place for backups.

The job is not in the domain's lane: whoever ends the domain need not wait for it, and it fails then. One at a time
of each domain.

Arguments that the steps read: ``domain`` (its UUID), ``path`` of the place, ``backup`` (the ID), ``full`` and
``bytes-per-s``. Notes that they write: ``begun`` once the guest's disks may be frozen, ``since`` and ``reason`` as
they were chosen, ``quiesced`` whether its file systems may be held and, in the end, were at the instant. After a
crash one whose disks were being read is undone, and one that was published is finished.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

import structlog

from wirt.model.devices import DiskFormat, DiskSpec
from wirt.model.domain import Domain
from wirt.model.errors import IllegalState, NotFound, ResourceBusy, Unavailable, WirtError
from wirt.model.job import Job, JobState, Recovery
from wirt.model.lifecycle import State
from wirt.model.storage import Holder, Volume, VolumeRef
from wirt.operations.backup_busy import check_no_backup
from wirt.operations.backup_places import backups, open_place, path_of, remember_place
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step
from wirt.operations.moving import settled
from wirt.operations.quiet import quiet, thaw
from wirt.operations.running import EnvContext
from wirt.operations.volumes_copy import check_volume_chain
from wirt.operations.volumes_domain import names_of
from wirt.operations.volumes_steps import release
from wirt.plan.backup import Backup, Consistency, DiskBackup, Kind, check_id
from wirt.ports.backup_store import BackupStore, BackupWriter, Work
from wirt.ports.live_backup import Export
from wirt.ports.threads import in_thread

log = structlog.get_logger()

_COPIED = 0.95
LEAST_RATE = 64 * 1024


async def create(
    environment: Environment,
    ref: str,
    to: str | None,
    cwd: str,
    *,
    full: bool = False,
    bytes_per_s: int | None = None,
) -> Job:
    """What can be known to be wrong is raised now, before there is a job."""
    domain = settled(environment.domains.find(ref))
    backups(environment)
    if not disks_of(domain):
        raise IllegalState(f"domain {domain.name} has no disk that it could write")
    check_no_backup(environment, domain)
    path = await path_of(environment, to, cwd)
    arguments = {
        "domain": str(domain.uuid),
        "path": path,
        "backup": _name(environment, domain),
        "full": full,
        "bytes-per-s": None if bytes_per_s is None else max(LEAST_RATE, bytes_per_s),
    }
    return await environment.jobs.submit(JobKind.BACKUP, domain.name, arguments)


def scratch(environment: Environment) -> Path:
    """Where what a guest overwrites meanwhile is kept aside, in files without names."""
    return Path(environment.settings.home, "scratch")


def disks_of(domain: Domain) -> tuple[DiskSpec, ...]:
    """What is backed up: whatever the domain can write."""
    return tuple(
        disk
        for disk in domain.config.disks
        if disk.writable and not disk.cdrom and disk.target is not None and disk.format is not DiskFormat.EMPTY
    )


def _name(environment: Environment, domain: Domain) -> str:
    now = datetime.fromtimestamp(environment.clock.now(), UTC)
    name = f"{domain.name[:100]}-{now:%Y%m%dT%H%M%SZ}-{environment.new_uuid().hex[:6]}"
    try:
        check_id(name)
    except WirtError:  # a name that is no name of a file
        name = f"{domain.uuid}-{name[len(domain.name[:100]) + 1 :]}"
    return name


def _domain(context: EnvContext) -> Domain:
    domain = context.environment.domains.get(UUID(context.job.arguments["domain"]))
    if domain is None:
        raise NotFound(f"domain {context.job.subject} is gone")
    return domain


async def _store(context: EnvContext) -> BackupStore:
    return await open_place(context.environment, context.job.arguments["path"])


async def _reserve(context: EnvContext) -> None:
    """The volumes of one that is off are this job's meanwhile; those of one that runs are the domain's."""
    environment, domain = context.environment, _domain(context)
    holders = environment.pools.holders
    await open_place(environment, context.job.arguments["path"], make=True)
    await context.note(running=domain.incarnation is not None)
    if domain.incarnation is None:
        refs = [VolumeRef.parse(disk.volume) for disk in disks_of(domain) if disk.volume is not None]
        mine = Holder(holders.host, job=context.job.id)
        await holders.claim(dict.fromkeys(refs, mine), names_of(environment))


async def _begin(context: EnvContext) -> None:
    """The instant that is backed up, of a guest that runs."""
    environment, domain, arguments = context.environment, _domain(context), context.job.arguments
    store = await _store(context)
    if not context.job.notes["running"]:
        checkpoints = {disk.vdev: await _kept(context, disk) for disk in disks_of(domain)}
        await _choose(context, store, domain, checkpoints)
        await context.note(at=environment.clock.now())
        return
    if context.job.notes.get("begun"):
        raise _interrupted()  # the guest may stand still: that is undone with the rest
    live = backups(environment).live
    if environment.jobs.busy(domain.uuid):
        raise ResourceBusy(f"a job of domain {domain.name} is under way", hint="try again when it has ended")
    checkpoint = f"{store.tag}.{arguments['backup']}"
    await context.note(begun=checkpoint, was=str(domain.state), at=environment.clock.now())
    await live.abandon(domain.uuid)
    since = await _choose(context, store, domain, dict(await live.checkpoints(domain.uuid)))
    running = domain.state is State.RUNNING
    await context.note(quiesced=running)
    async with quiet(environment, domain, wanted=running) as hold:
        context.transient["exports"] = await live.begin(
            domain.uuid,
            checkpoint,
            [disk.vdev for disk in disks_of(domain)],
            scratch(environment),
            since=None if since is None else f"{store.tag}.{since.id}",
        )
    await context.note(frozen=True, quiesced=hold.held)


async def _kept(context: EnvContext, disk: DiskSpec) -> frozenset[str]:
    async with _opened(context, disk) as volume:
        return await backups(context.environment).disks.checkpoints(volume)


async def _choose(
    context: EnvContext, store: BackupStore, domain: Domain, checkpoints: dict[str, frozenset[str]]
) -> Backup | None:
    """The backup that this one begins from: the newest one in this place since which all changes are known."""
    since, reason = None, "it is the first one here"
    if context.job.arguments["full"]:
        reason = "that was asked for"
    else:
        listing = await in_thread(None, store.all)
        mine = [backup for backup in listing.backups if backup.uuid == str(domain.uuid)]
        known = set().union(*checkpoints.values()) if checkpoints else set()
        usable = [backup for backup in mine if f"{store.tag}.{backup.id}" in known]
        if usable:
            since, reason = usable[-1], ""
        elif mine:
            reason = f"it is not known what has changed since {mine[-1].id}"
    await context.note(since=since.id if since is not None else None, reason=reason)
    context.transient["since"] = since
    return since


async def _abandon(context: EnvContext) -> None:
    if not context.job.notes.get("begun"):
        return
    environment, domain = context.environment, UUID(context.job.arguments["domain"])
    with contextlib.suppress(IllegalState):  # the run is over, and its filters with it
        await backups(environment).live.abandon(domain, context.job.notes["begun"])
        known = environment.domains.get(domain)
        between = not context.job.notes.get("frozen") and known is not None and known.state is State.PAUSED
        if between and context.job.notes.get("was") == State.RUNNING:
            await environment.hypervisor.resume(domain)
        if not context.job.notes.get("frozen") and known is not None and context.job.notes.get("quiesced"):
            await thaw(environment, known)


def _interrupted() -> Unavailable:
    return Unavailable("wirtd ended in the middle; it was undone", hint="make the backup again")


async def _copy(context: EnvContext) -> None:
    arguments, domain = context.job.arguments, _domain(context)
    if "since" not in context.transient:
        raise _interrupted()
    store = await _store(context)
    writer = await in_thread(None, store.write, arguments["backup"])
    context.transient["writer"] = writer
    since: Backup | None = context.transient["since"]
    work = _work(context)
    taken = []
    for disk in disks_of(domain):
        taken.append(await _take(context, disk, writer, work, since))
    context.transient["taken"] = tuple(taken)


def _work(context: EnvContext) -> Work:
    exports: tuple[Export, ...] = context.transient.get("exports", ())
    total = sum(export.size for export in exports)
    loop, done = asyncio.get_running_loop(), [0]

    def tell(size: int) -> None:
        done[0] += size
        share = min(1.0, done[0] / total) if total else 0.5
        words = f"copying: {done[0] // (1 << 20)} MiB"
        loop.call_soon_threadsafe(context.progress, words, 0.1 + share * (_COPIED - 0.1))

    return Work(Event(), tell, context.job.arguments["bytes-per-s"])


async def _take(
    context: EnvContext, disk: DiskSpec, writer: BackupWriter, work: Work, since: Backup | None
) -> DiskBackup:
    """``since`` counts only for a disk that was in it, of the same size."""
    before = None if since is None else since.disk(disk.vdev)
    exports: tuple[Export, ...] = context.transient.get("exports", ())
    export = next((each for each in exports if each.vdev == disk.vdev), None)
    if export is not None:
        base = since if export.changes and before is not None and before.size == export.size else None
        blocks = await in_thread(None, export.open, base is not None)
        try:
            return await in_thread(work.stop, writer.take, disk.vdev, str(disk.format), blocks, work, since=base)
        finally:
            await in_thread(None, blocks.close)
    async with _opened(context, disk) as volume:
        disks = backups(context.environment).disks
        store = await _store(context)
        checkpoint = None if since is None else f"{store.tag}.{since.id}"
        known = checkpoint is not None and checkpoint in await disks.checkpoints(volume)
        base = since if known and before is not None and before.size == volume.size else None
        async with disks.serve(volume, changes=checkpoint if base is not None else None) as blocks:
            return await in_thread(work.stop, writer.take, disk.vdev, str(volume.format), blocks, work, since=base)


@contextlib.asynccontextmanager
async def _opened(context: EnvContext, disk: DiskSpec) -> AsyncIterator[Volume]:
    """The disk of a domain that is off, ready to be read. What it stands on must be what it always was."""
    environment = context.environment
    assert disk.target is not None
    if disk.volume is not None:
        ref = VolumeRef.parse(disk.volume)
        volume = await environment.pools.activate(ref)
        await check_volume_chain(environment, volume)
        try:
            yield volume
        finally:
            await environment.pools.deactivate(ref)
        return
    volume = Volume(context.job.subject, disk.vdev, disk.format, 0, 0, disk.target)
    await check_volume_chain(environment, volume)
    async with backups(environment).disks.serve(volume) as blocks:
        size = blocks.size
    yield replace(volume, size=size)


async def _discard(context: EnvContext) -> None:
    writer: BackupWriter | None = context.transient.pop("writer", None)
    if writer is not None:
        await in_thread(None, writer.close)
    store = await _store(context)
    await in_thread(None, store.discard, context.job.arguments["backup"])


async def _publish(context: EnvContext) -> None:
    environment, arguments, domain = context.environment, context.job.arguments, _domain(context)
    writer: BackupWriter | None = context.transient.get("writer")
    if writer is None:
        await _made(context)  # by a daemon that ended right after it: then it counts
        return
    if not context.job.notes["running"]:
        _check_stayed_off(context, domain)
    facts = await environment.hypervisor.facts()
    made = Backup(
        id=arguments["backup"],
        domain=domain.name,
        uuid=str(domain.uuid),
        host=environment.machine.name,
        created_at=context.job.notes["at"],
        hypervisor=f"{facts.name} {'.'.join(map(str, facts.version))}",
        state=str(domain.state),
        config=domain.text,
        parent=context.job.notes["since"],
        reason=context.job.notes["reason"] or _whole(context.transient["taken"]),
        disks=context.transient["taken"],
        consistency=_consistency(context),
    )
    await in_thread(None, writer.publish, made)
    await in_thread(None, writer.close)


def _check_stayed_off(context: EnvContext, domain: Domain) -> None:
    """Disks that are no volumes are nobody's to reserve: one may have been read before a run, and one after it."""
    jobs = context.environment.jobs.all()
    since = [job for job in jobs if job.kind == JobKind.START and job.created_at >= context.job.created_at]
    started = any(job.arguments["uuid"] == str(domain.uuid) and job.state is not JobState.FAILED for job in since)
    if domain.incarnation is not None or started:
        raise IllegalState(f"domain {domain.name} was started meanwhile", hint="make the backup again")


async def _made(context: EnvContext) -> Backup:
    return await in_thread(None, (await _store(context)).find, context.job.arguments["backup"])


async def _finish(context: EnvContext) -> None:
    environment, arguments = context.environment, context.job.arguments
    made = await _made(context)
    await _let_go(context)
    await remember_place(environment, arguments["path"])
    result = _result(made, arguments["path"]) | {"consistency": str(_consistency(context))}
    await context.note(result=result)
    environment.bus.publish("backup", context.job.subject, None, {"backup": made.id, "change": "created"})


async def _let_go(context: EnvContext) -> None:
    """From here on changes are counted from this backup. Where that can't be, the next one begins from the one
    before, or is full by itself."""
    environment, arguments = context.environment, context.job.arguments
    checkpoint = f"{(await _store(context)).tag}.{arguments['backup']}"
    try:
        if context.job.notes.get("begun"):
            await backups(environment).live.end(UUID(arguments["domain"]), checkpoint)
        else:
            # Only of what nobody can have written since: the volumes, which are this job's until now.
            for disk in (each for each in disks_of(_domain(context)) if each.volume is not None):
                async with _opened(context, disk) as volume:
                    await backups(environment).disks.mark(volume, checkpoint)
    except WirtError as error:
        log.warning("a backup's checkpoint was not kept", backup=arguments["backup"], error=str(error))
    await release(context)


def _consistency(context: EnvContext) -> Consistency:
    if not context.job.notes["running"]:
        return Consistency.OFF
    return Consistency.FILESYSTEM if context.job.notes.get("quiesced") else Consistency.CRASH


def _whole(disks: tuple[DiskBackup, ...]) -> str:
    """Why some disks of an incremental backup were read whole."""
    whole = [disk.vdev for disk in disks if disk.kind is Kind.FULL]
    return f"of {', '.join(whole)} it is not known what has changed" if whole else ""


def _result(made: Backup, path: str) -> dict[str, Any]:
    return {
        "backup": made.id,
        "path": path,
        "kind": str(made.kind),
        "reason": made.reason,
        "moved": sum(disk.moved for disk in made.disks),
        "changed": sum(disk.changed for disk in made.disks),
        "stored": sum(disk.stored for disk in made.disks),
    }


BACKUP = Operation(
    JobKind.BACKUP,
    (
        Step("reserve", _reserve, release),
        Step("begin", _begin, _abandon),
        Step("copy", _copy, _discard, interruptible=True),
        Step("publish", _publish, _discard, final=True),
        Step("finish", _finish, _let_go),
    ),
    recovery=Recovery.FINISH,
)
