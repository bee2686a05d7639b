"""``wirt backup verify``: all checksums, and with ``--boot`` a guest that comes up from the backup.

The copy that is booted has a name and a UUID of its own and no network card at all: it meets nobody, least of all
the guest that it is a copy of. When it has shown what was waited for, it and its volumes are gone; so are they on
any failure.

Arguments of a boot, beside those of a restoration: ``expect``, a regular expression for what its console shows,
and ``timeout-s``.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import PurePosixPath
from uuid import UUID

from wirt.config.xlcfg import disk_entries, load, with_value, with_volumes
from wirt.model.domain import Domain, Wanted
from wirt.model.errors import BadInput, DeadlinePassed, IllegalState
from wirt.model.job import Job, Recovery
from wirt.model.text import plain
from wirt.operations import backup_restore
from wirt.operations.backing import check_backing
from wirt.operations.backup_places import Found, find, open_place, path_of
from wirt.operations.checks import check_files
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.pools import DEFAULT_POOL
from wirt.operations.running import START_STEPS, EnvContext, clear, let_volumes_go, unplug
from wirt.operations.volumes_steps import release
from wirt.plan.backup import Backup
from wirt.ports.hypervisor import Console
from wirt.ports.threads import in_thread

EXPECT = r"login:|ready"
"""What a guest that is up says: a getty's prompt, or the tiny guest's own word."""
TIMEOUT_S = 600.0
MOST_PATTERN = 1000
KEPT_BYTES = 64 * 1024
"""Of the console, in which the pattern is looked for."""


async def verify(environment: Environment, backup: str, cwd: str, *, source: str | None = None) -> Job:
    found = await _find(environment, backup, source, cwd)
    arguments = {"path": found.path, "backup": found.backup.id, "size": sum(d.size for d in found.backup.disks)}
    return await environment.jobs.submit(JobKind.BACKUP_VERIFY, f"verify {found.backup.domain}", arguments)


async def boot(
    environment: Environment,
    backup: str,
    cwd: str,
    *,
    source: str | None = None,
    pool: str | None = None,
    expect: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Job:
    expect = expect or EXPECT
    try:
        re.compile(expect.encode())
    except re.error as error:
        raise BadInput(f"{expect!r} is no regular expression: {error}", hint="as in --expect 'login:'") from error
    if len(expect) > MOST_PATTERN or not 0 < timeout_s <= 24 * 3600:
        raise BadInput("--expect is too long, or --timeout is no time", hint="--timeout in seconds")
    found = await _find(environment, backup, source, cwd)
    uuid = environment.new_uuid()
    name = f"verify-{uuid.hex[:8]}"
    arguments = await backup_restore.volumes_for(environment, found, name, pool or DEFAULT_POOL)
    text = isolated(found.backup.config, name, uuid)
    text = with_volumes(text, {vdev: f"pool:{each['volume']}" for vdev, each in arguments["volumes"].items()})
    text = with_value(text, "disk", _disks(environment, found.backup, text, frozenset(arguments["volumes"])))
    arguments |= {"uuid": str(uuid), "text": text, "paused": False, "expect": expect, "timeout-s": timeout_s}
    check_files(environment, load(text, file="<stored>", cwd=PurePosixPath("/")).config)
    return await environment.jobs.submit(JobKind.BACKUP_BOOT, name, arguments)


async def _find(environment: Environment, backup: str, source: str | None, cwd: str) -> Found:
    return await find(environment, backup, None if source is None else await path_of(environment, source, cwd))


def isolated(text: str, name: str, uuid: UUID) -> str:
    """Another domain's identity, no card, and an end that is final: nothing starts it again."""
    text = with_value(with_value(text, "name", name), "uuid", str(uuid))
    for key in ("vif", "device_model_args", "device_model_args_pv", "device_model_args_hvm"):
        text = with_value(text, key, None)
    for key in ("on_poweroff", "on_reboot", "on_crash", "on_watchdog", "on_soft_reset"):
        text = with_value(text, key, "destroy")
    return text


def _disks(environment: Environment, made: Backup, text: str, own: frozenset[str]) -> list[str] | None:
    """The entries of the copy's own disks, and of those that the very domain has here and only reads. What else a
    backup from anywhere may name on this host is none of the copy's business."""
    domain = environment.domains.get(UUID(made.uuid))
    known = {disk.target for disk in domain.config.disks} if domain is not None else set()
    entries = [
        entry
        for entry, disk in disk_entries(text)
        if disk.vdev in own or (disk.target in known and (disk.cdrom or not disk.writable))
    ]
    return entries or None


async def _check(context: EnvContext) -> None:
    arguments = context.job.arguments
    store = await open_place(context.environment, arguments["path"])
    backup = await in_thread(None, store.find, arguments["backup"])
    work = backup_restore.watched(context, arguments["size"], 0.0, 1.0)
    size = await in_thread(work.stop, store.verify, backup, work)
    await context.note(result={"backup": backup.id, "path": arguments["path"], "bytes": size})


async def _define(context: EnvContext) -> None:
    """It does not outlive its run, nor a daemon that ends before it."""
    environment, arguments = context.environment, context.job.arguments
    await release(context)
    domain = Domain(
        uuid=UUID(arguments["uuid"]),
        config=load(arguments["text"], file="<stored>", cwd=PurePosixPath("/")).config,
        text=arguments["text"],
        persistent=True,
        wanted=Wanted.ON,
        created_at=environment.clock.now(),
        created_by=context.job.id,
    )
    await environment.domains.add(domain)
    await check_backing(environment, await environment.plan(domain, 0))


async def _undefine(context: EnvContext) -> None:
    environment = context.environment
    domain = environment.domains.get(UUID(context.job.arguments["uuid"]))
    if domain is not None and domain.created_by == context.job.id:
        await environment.domains.remove(domain.uuid)
        environment.tell(replace(domain, incarnation=None), reason="verified")


async def _watch(context: EnvContext) -> None:
    """Until the console shows it. The time counts from the first instruction."""
    environment, arguments = context.environment, context.job.arguments
    clock, seen = environment.clock, _Seen(re.compile(arguments["expect"].encode()))
    begun = clock.monotonic()
    console = environment.hypervisor.console(UUID(arguments["uuid"]))
    reading = asyncio.ensure_future(seen.read(console))
    waiting = asyncio.ensure_future(clock.sleep(arguments["timeout-s"]))
    try:
        await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
        ended = reading.done()
    finally:
        for task in (reading, waiting):
            task.cancel()
        await asyncio.gather(reading, waiting, return_exceptions=True)
    what = f"the guest of backup {arguments['backup']}"
    if seen.found is not None:
        await context.note(took=clock.monotonic() - begun, seen=seen.found)
    elif ended:
        raise IllegalState(f"{what} ended before it showed {arguments['expect']!r}; {seen.end()}")
    else:
        raise DeadlinePassed(
            f"{what} did not show {arguments['expect']!r} within {arguments['timeout-s']:g} s; {seen.end()}",
            hint="--expect another word, or --timeout more seconds",
        )


class _Seen:
    """What a console has shown, and whether what was waited for is in it."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self.found: str | None = None
        self._pattern = pattern
        self._text = b""

    async def read(self, console: Console) -> None:
        async for chunk in console.follow(0):
            self._text = (self._text + chunk.data)[-KEPT_BYTES:]
            found = self._pattern.search(self._text)
            if found is not None:
                self.found = plain(found[0].decode(errors="replace"))[:200]
                return

    def end(self) -> str:
        lines = [plain(line.decode(errors="replace")) for line in self._text[-600:].splitlines() if line.strip()]
        return "its console ends with: " + (" / ".join(lines[-3:]) or "nothing")


async def _remove(context: EnvContext) -> None:
    """All that was made, in the order in which an undo would do it."""
    notes, arguments = context.job.notes, context.job.arguments
    for undo in (clear, unplug, let_volumes_go, _undefine, backup_restore.unmake, release):
        await undo(context)
    result = {"backup": arguments["backup"], "path": arguments["path"], "ready_s": round(notes["took"], 3)}
    await context.note(result={**result, "seen": notes["seen"]})


VERIFY = Operation(
    JobKind.BACKUP_VERIFY, (Step("check", _check, nothing_to_undo, interruptible=True),), Recovery.UNDO
)

BOOT = Operation(
    JobKind.BACKUP_BOOT,
    (
        Step("reserve", backup_restore.reserve, release),
        Step("make", backup_restore.make, backup_restore.unmake),
        Step("fill", backup_restore.fill, nothing_to_undo, interruptible=True),
        Step("define", _define, _undefine),
        *START_STEPS,
        Step("watch", _watch, nothing_to_undo, interruptible=True),
        Step("remove", _remove, nothing_to_undo),
    ),
    recovery=Recovery.UNDO,
)
