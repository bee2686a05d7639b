"""Routes under ``/v1/backups``, and a domain's own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from wirt.api import convert
from wirt.api.reply import reply
from wirt.config.xlcfg import without_secrets
from wirt.model.errors import BadInput
from wirt.model.job import Job
from wirt.model.storage import parse_size
from wirt.operations import backup, backup_places, backup_prune, backup_restore, backup_verify
from wirt.operations.backup_places import Found
from wirt.operations.environment import Environment
from wirt.plan.backup import Keep
from wirt.wire import v1, v1_backup

MOST_KEPT = 100_000


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["backups"])
    _reading(routes, environment)
    _making(routes, environment)
    _removing(routes, environment)
    return routes


def _reading(routes: APIRouter, environment: Environment) -> None:
    @routes.get("/backups", response_model=v1_backup.BackupList)
    async def list_backups(source: Annotated[str | None, Query()] = None, cwd: str = "/") -> Response:
        """Those in one place, or in all that this host has used."""
        if source is None:
            found, problems = await backup_places.list_all(environment)
        else:
            path = await backup_places.path_of(environment, source, cwd)
            listing = await backup_places.list_place(environment, path)
            found, problems = tuple(Found(path, each) for each in listing.backups), listing.problems
        return reply(v1_backup.BackupList([_backup(each) for each in found], list(problems)))

    @routes.get("/backups/{name}", response_model=v1_backup.BackupDetail)
    async def show(name: str, source: Annotated[str | None, Query()] = None, cwd: str = "/") -> Response:
        """One backup, with its disks."""
        found = await backup_places.find(environment, name, await _place(environment, source, cwd))
        disks = [
            v1_backup.BackupDisk(
                each.vdev, each.size, each.format, str(each.kind), each.moved, each.changed, each.stored
            )
            for each in found.backup.disks
        ]
        return reply(v1_backup.BackupDetail(_backup(found), disks, without_secrets(found.backup.config)))


def _making(routes: APIRouter, environment: Environment) -> None:
    @routes.post("/domains/{ref}/backup", response_model=v1.Job)
    async def create(ref: str, request: v1_backup.BackupRequest, wait: bool = False) -> Response:
        """Back up a domain, running or not: what has changed since the last one there, or all."""
        job = await backup.create(
            environment,
            ref,
            request.to,
            request.cwd,
            full=request.full,
            bytes_per_s=None if request.bytes_per_s is None else parse_size(request.bytes_per_s),
        )
        return await _job_reply(environment, job, wait)

    @routes.post("/backups/{name}/restore", response_model=v1.Job)
    async def restore(name: str, request: v1_backup.BackupRestore, wait: bool = False) -> Response:
        """New volumes with what the disks held, and a domain that has them."""
        job = await backup_restore.restore(
            environment,
            name,
            request.cwd,
            source=request.source,
            name=request.name,
            pool=request.pool,
            disk=request.disk,
            replace=request.replace,
        )
        return await _job_reply(environment, job, wait)

    @routes.post("/backups/{name}/verify", response_model=v1.Job)
    async def verify(name: str, request: v1_backup.BackupVerify, wait: bool = False) -> Response:
        """Compare all checksums; or have a copy come up, alone, and remove it again."""
        if not request.boot:
            job = await backup_verify.verify(environment, name, request.cwd, source=request.source)
            return await _job_reply(environment, job, wait)
        job = await backup_verify.boot(
            environment,
            name,
            request.cwd,
            source=request.source,
            pool=request.pool,
            expect=request.expect,
            timeout_s=backup_verify.TIMEOUT_S if request.timeout_s is None else request.timeout_s,
        )
        return await _job_reply(environment, job, wait)


def _removing(routes: APIRouter, environment: Environment) -> None:
    @routes.post("/backups/{name}/destroy", response_model=v1.Job)
    async def destroy(name: str, request: v1_backup.BackupPlace, wait: bool = False) -> Response:
        """Forget one backup, and remove what only it needed."""
        job = await backup_prune.destroy(environment, name, request.cwd, source=request.source)
        return await _job_reply(environment, job, wait)

    @routes.post("/backup-prune", response_model=None)
    async def prune(request: v1_backup.BackupKeep, wait: bool = False) -> Response:
        """Forget what the policy does not keep: a ``Job``, or a ``BackupPrunePlan`` if that is only asked for."""
        counts = (request.last, request.daily, request.weekly, request.monthly)
        if not all(0 <= each <= MOST_KEPT for each in counts):
            raise BadInput(f"one keeps between 0 and {MOST_KEPT} backups")
        keep = Keep(*counts)
        where = {"source": request.source, "domain": request.domain}
        if request.dry_run:
            path, gone = await backup_prune.choose(environment, keep, request.cwd, **where)
            return reply(v1_backup.BackupPrunePlan(path, [_backup(Found(path, each)) for each in gone]))
        return await _job_reply(
            environment, await backup_prune.prune(environment, keep, request.cwd, **where), wait
        )


async def _place(environment: Environment, source: str | None, cwd: str) -> str | None:
    return None if source is None else await backup_places.path_of(environment, source, cwd)


async def _job_reply(environment: Environment, job: Job, wait: bool) -> Response:
    if wait:
        job = await environment.jobs.wait(job.id)
    return reply(convert.job(job), 200 if job.state.finished else 202)


def _backup(found: Found) -> v1_backup.Backup:
    of = found.backup
    return v1_backup.Backup(
        id=of.id,
        domain=of.domain,
        uuid=of.uuid,
        host=of.host,
        created_at=of.created_at,
        kind=str(of.kind),
        state=of.state,
        path=found.path,
        hypervisor=of.hypervisor,
        parent=of.parent,
        reason=of.reason,
        size=sum(disk.size for disk in of.disks),
        moved=sum(disk.moved for disk in of.disks),
        stored=sum(disk.stored for disk in of.disks),
        consistency=None if of.consistency is None else str(of.consistency),
    )
