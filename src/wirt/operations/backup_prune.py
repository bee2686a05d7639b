"""``wirt backup prune`` and ``destroy``: backups that are not kept, and then the room that only they took."""

from __future__ import annotations

from wirt.model.errors import NotFound
from wirt.model.job import Job, Recovery
from wirt.operations.backup_places import find, list_place, open_place, path_of
from wirt.operations.backup_restore import watched
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.running import EnvContext
from wirt.plan.backup import Backup, Keep, superfluous
from wirt.ports.threads import in_thread


async def choose(
    environment: Environment, keep: Keep, cwd: str, *, source: str | None = None, domain: str | None = None
) -> tuple[str, tuple[Backup, ...]]:
    """The place, and what ``keep`` does not keep there, of one domain (its name or UUID) or of all."""
    path = await path_of(environment, source, cwd)
    listing = await list_place(environment, path)
    mine = [backup for backup in listing.backups if domain in (None, backup.domain, backup.uuid)]
    if domain is not None and not mine:
        raise NotFound(f"there is no backup of {domain} in {path}", hint="wirt backup list shows them")
    return path, superfluous(mine, keep)


async def prune(
    environment: Environment, keep: Keep, cwd: str, *, source: str | None = None, domain: str | None = None
) -> Job:
    """Without a policy nothing is forgotten; what nobody needs is removed all the same."""
    path, gone = await choose(environment, keep, cwd, source=source, domain=domain)
    return await _submit(environment, path, tuple(backup.id for backup in gone))


async def destroy(environment: Environment, backup: str, cwd: str, *, source: str | None = None) -> Job:
    """Also one that is damaged: then its place must be named."""
    if source is not None:
        path = await path_of(environment, source, cwd)
        await open_place(environment, path)
        return await _submit(environment, path, (backup,))
    found = await find(environment, backup, None)
    return await _submit(environment, found.path, (found.backup.id,))


async def _submit(environment: Environment, path: str, gone: tuple[str, ...]) -> Job:
    arguments = {"path": path, "backups": list(gone)}
    return await environment.jobs.submit(JobKind.BACKUP_PRUNE, f"prune {path}", arguments)


async def _forget(context: EnvContext) -> None:
    store = await open_place(context.environment, context.job.arguments["path"])
    await in_thread(None, store.forget, context.job.arguments["backups"])


async def _sweep(context: EnvContext) -> None:
    """What is left by one that was interrupted, the next one takes away."""
    arguments = context.job.arguments
    store = await open_place(context.environment, arguments["path"])
    work = watched(context, 1, 0.5, 0.9)
    swept = await in_thread(work.stop, store.sweep, work)
    gone = arguments["backups"]
    await context.note(
        result={"backups": gone, "objects": swept.objects, "bytes": swept.size, "path": arguments["path"]}
    )


PRUNE = Operation(
    JobKind.BACKUP_PRUNE,
    (
        Step("forget", _forget, nothing_to_undo, final=True),
        Step("sweep", _sweep, nothing_to_undo, final=True, interruptible=True),
    ),
    recovery=Recovery.FINISH,
)
