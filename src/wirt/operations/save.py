"""``wirt save``: a guest into one file, from which it can go on later, here or elsewhere.

The guest stands still while its memory is written. Up to the moment in which the file gets its name the guest can
go on, and does so if anything fails, is cancelled or crashes; from then on it is the file that goes on, and the
run is ended. Of a checkpoint the run stays: in the file is a guest whose disks others write.

Arguments that the steps read: ``uuid``, ``domid``, ``file``, ``part`` (what the file is called until it is whole),
``replace``, ``text`` (the configuration that is kept with it), ``go-on`` (of a checkpoint: the guest runs again).
Notes that they write: ``was``, the guest's state before; ``publishing`` once the file may have its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from wirt.model.domain import Domain, Wanted
from wirt.model.errors import BadInput, CorruptState, IllegalState, NotFound, Unavailable
from wirt.model.job import Job, Recovery
from wirt.model.lifecycle import State
from wirt.model.saved import SavedGuest
from wirt.operations.backup_busy import check_no_backup
from wirt.operations.create import Source, load_source
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.present import vcpus_of_run
from wirt.operations.running import END_STEPS, EnvContext, domain_of, running, save_files
from wirt.operations.save_disks import disks_now, may_write
from wirt.operations.snapshots_steps import live, run_of
from wirt.plan.saved import hardware, read_guest, write_disks, write_guest
from wirt.ports.hypervisor import given_cpu

_WRITTEN = 0.85


@dataclass(frozen=True, slots=True)
class SaveWish:
    """``file`` is an absolute path. ``running``, ``paused``: how the guest is left; by neither it ends. ``force``:
    a file that is there goes, and what ``running`` makes of it does not matter. ``source``: another configuration
    to keep with it."""

    file: str
    running: bool = False
    paused: bool = False
    force: bool = False
    source: Source | None = None


async def save(environment: Environment, ref: str, wish: SaveWish) -> Job:
    """What can be known to be wrong is raised now, before there is a job."""
    domain = running(environment.domains.find(ref))
    if domain.state not in (State.RUNNING, State.PAUSED):
        raise IllegalState(f"domain {domain.name} is {domain.state}", hint="only what runs or is paused is saved")
    check_no_backup(environment, domain)
    live(environment)
    file = check_path(wish.file)
    if wish.running and not wish.paused and may_write(domain) and not wish.force:
        raise IllegalState(
            f"domain {domain.name} would go on writing its disks, and the file could not go on with them then",
            hint=f"wirt snapshot create {domain.name} NAME --memory keeps both; -p leaves it paused",
        )
    await save_files(environment).check_new(wish.file, replace=wish.force)
    text = domain.text if wish.source is None else load_source(environment, wish.source).text
    job_file = environment.new_uuid().hex[:12]
    arguments = {
        "uuid": str(domain.uuid),
        "domid": domain.domid,
        "file": str(file),
        "part": str(file.with_name(f".{file.name[:200]}.{job_file}.part")),
        "replace": wish.force,
        "text": text,
        "go-on": wish.running and not wish.paused,
    }
    kind = JobKind.CHECKPOINT if wish.running or wish.paused else JobKind.SAVE
    return await environment.jobs.submit(kind, domain.name, arguments)


def check_path(file: str) -> Path:
    path = Path(file)
    if not path.is_absolute() or "\0" in file or not path.name:
        raise BadInput(f"{file!r} is no absolute path of a file", hint="as in /srv/saved/web")
    return path


async def _write(context: EnvContext) -> None:
    """All of the file, under another name. Of a daemon that died here the guest goes on: a new one has no part in
    what QEMU was writing then."""
    environment, arguments = context.environment, context.job.arguments
    if context.repeated:
        raise IllegalState("wirtd ended before the file was whole; the guest goes on", hint="save it again")
    domain = run_of(context)
    if domain is None:
        raise IllegalState(f"domain {context.job.subject} has ended meanwhile")
    await context.note(was=str(domain.state))
    header = write_guest(await _guest(context, domain))
    if domain.state is State.RUNNING:
        await environment.hypervisor.pause(domain.uuid)

    def tell(share: float) -> None:
        context.progress(f"writing memory: {share:.0%}", share * _WRITTEN)

    async def fill(descriptor: int) -> bytes:
        await live(environment).stream_memory(domain.uuid, descriptor, tell)
        return write_disks(await disks_now(environment, domain))

    facts = await save_files(environment).write(arguments["part"], header, fill)
    sizes = {"bytes": facts.file_bytes, "memory_bytes": facts.plain_bytes}
    await context.note(result={"file": arguments["file"], **sizes, "writes": list(may_write(domain))})


async def _guest(context: EnvContext, domain: Domain) -> SavedGuest:
    environment = context.environment
    assert domain.domid is not None
    plan = await environment.plan(domain, domain.domid, running=True)
    assert domain.incarnation is not None
    cpu = given_cpu(domain.incarnation, plan.cpu_model)
    vcpus = await vcpus_of_run(environment, domain)
    plan = await environment.plan(domain, domain.domid, running=True, given=cpu, vcpus=vcpus)
    return SavedGuest(
        id=context.job.id,
        uuid=domain.uuid,
        name=domain.name,
        text=context.job.arguments["text"],
        persistent=domain.persistent,
        epoch=domain.epoch,
        domid=domain.domid,
        created_at=environment.clock.now(),
        host=environment.machine.name,
        hypervisor=environment.hypervisor.name,
        version=(await environment.hypervisor.facts()).version,
        memory_mib=plan.memory_mib,
        padding_kib=plan.padding_kib,
        reporting=plan.reporting,
        hotplug_mib=plan.hotplug_mib,
        hardware=hardware(plan),
        paused=domain.state is State.PAUSED,
        cpu=cpu if cpu.features else None,
        vcpus=vcpus,
    )


async def _go_on(context: EnvContext) -> None:
    """The guest does what it did before, and nothing is left of the file."""
    try:
        await _wake(context)
    finally:
        await save_files(context.environment).discard(context.job.arguments["part"])


async def _wake(context: EnvContext) -> None:
    """The guest, once: what is left of the file may be on a server that has gone, which is waited for."""
    environment, notes = context.environment, context.job.notes
    domain = environment.domains.get(UUID(context.job.arguments["uuid"]))
    asleep = notes.get("was") == State.RUNNING and not notes.get("woken")
    if domain is not None and run_of(context) is not None and asleep:
        await environment.hypervisor.resume(domain.uuid)
        await context.note(woken=True)


async def _publish(context: EnvContext) -> None:
    """The instant from which on the file is the guest."""
    environment, arguments = context.environment, context.job.arguments
    await context.note(publishing=True, wanted=context.job.notes.get("wanted", str(domain_of(context).wanted)))
    await save_files(environment).publish(arguments["part"], arguments["file"], replace=arguments["replace"])
    if not await _is_mine(context):
        raise Unavailable(f"what was written for {arguments['file']} is gone", hint="save it again")
    if context.job.kind == JobKind.SAVE and domain_of(context).persistent:
        await environment.domains.change(domain_of(context).uuid, saved=arguments["file"], wanted=Wanted.OFF)


async def _withdraw(context: EnvContext) -> None:
    """The file that has its name already, if it is this job's."""
    environment, arguments = context.environment, context.job.arguments
    if not context.job.notes.get("publishing"):
        return
    await _wake(context)
    domain = environment.domains.get(UUID(arguments["uuid"]))
    if domain is not None and domain.saved == arguments["file"]:
        await environment.domains.change(domain.uuid, saved=None, wanted=Wanted(context.job.notes["wanted"]))
    if await _is_mine(context):
        await save_files(environment).discard(arguments["file"])


async def _is_mine(context: EnvContext) -> bool:
    """Whether what has the name is what this job wrote."""
    file = context.job.arguments["file"]
    try:
        found = await save_files(context.environment).facts(file)
        return read_guest(found.header, file).id == context.job.id
    except (NotFound, CorruptState):
        return False


async def _leave(context: EnvContext) -> None:
    domain = run_of(context)
    if domain is not None and context.job.arguments["go-on"] and context.job.notes.get("was") == State.RUNNING:
        await context.environment.hypervisor.resume(domain.uuid)


_FILE = (
    Step("write", _write, _go_on, interruptible=True),
    Step("publish", _publish, _withdraw, final=True),
)

SAVES = (
    Operation(JobKind.SAVE, (*_FILE, *END_STEPS), recovery=Recovery.FINISH),
    Operation(
        JobKind.CHECKPOINT, (*_FILE, Step("leave", _leave, nothing_to_undo, final=True)), recovery=Recovery.FINISH
    ),
)
