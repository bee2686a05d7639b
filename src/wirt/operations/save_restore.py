"""``wirt restore``: a guest goes on from the file that it was saved to.

Arguments that the steps read, besides those of a start: ``saved`` (the file), ``saved-id`` (whose it was when it
was looked at), ``text``, ``persistent``, ``epoch``, ``force``. Notes that they write: ``before``, what a domain
that was known already had.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from wirt.config.xlcfg import Loaded, load, with_value
from wirt.model.domain import Domain, Wanted
from wirt.model.errors import IllegalState, NameInUse
from wirt.model.job import Job, Recovery
from wirt.model.saved import SavedDisk, SavedGuest
from wirt.operations.backing import check_backing
from wirt.operations.checks import check_disks_free, check_files
from wirt.operations.create import Source, check_name, load_source
from wirt.operations.environment import Environment
from wirt.operations.given_memory import GIVEN, argument
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.present import VCPUS
from wirt.operations.running import START_STEPS, EnvContext, cpu_argument, domain_of, save_files
from wirt.operations.save import check_path
from wirt.operations.save_disks import stamps_of_plan
from wirt.operations.volumes_domain import check_names_settled
from wirt.plan.launch import LaunchPlan
from wirt.plan.saved import differences, missing_cpu, read_disks, read_guest, written_since
from wirt.ports.save_files import SaveFacts


@dataclass(frozen=True, slots=True)
class RestoreWish:
    """``file`` is an absolute path. ``source``: a configuration to take instead of the one in it, to say where the
    disks are here. ``force``: go on also with disks that were written since."""

    file: str
    source: Source | None = None
    paused: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class RestorePreview:
    """``doubts``: what speaks against it and was forced, a phrase each; ``remarks``: what is only to be known."""

    guest: SavedGuest
    disks: tuple[SavedDisk, ...]
    facts: SaveFacts
    domain: Domain
    known: bool
    loaded: Loaded
    doubts: tuple[str, ...]
    remarks: tuple[str, ...]


async def preview(environment: Environment, wish: RestoreWish) -> RestorePreview:
    """What :func:`restore` would do, and nothing done. Raises what it would."""
    guest, disks, facts = await look(environment, wish.file)
    if guest.hypervisor != environment.hypervisor.name:
        raise IllegalState(
            f"{wish.file} was saved by {guest.hypervisor}, and this host has {environment.hypervisor.name}",
            hint="restore it on a host that has the same hypervisor",
        )
    loaded = _loaded(environment, wish, guest)
    known = environment.domains.get(guest.uuid)
    domain = _domain(environment, guest, loaded, known)
    check_files(environment, domain.config)
    await check_disks_free(environment, domain.uuid, domain.config)
    plan = await _plan(environment, domain, guest)
    await check_backing(environment, plan)
    await _check_hardware(environment, guest, plan, _other_memory(guest, loaded) if wish.source else ())
    doubts = await _doubts(environment, disks, plan)
    if doubts and not wish.force:
        raise _refused(guest, wish.file, doubts)
    remarks = _remarks(guest, (await environment.hypervisor.facts()).version)
    return RestorePreview(guest, disks, facts, domain, known is not None, loaded, doubts, remarks)


async def restore(environment: Environment, wish: RestoreWish) -> Job:
    """What can be known to be wrong is raised now, before there is a job."""
    found = await preview(environment, wish)
    arguments = {
        "uuid": str(found.domain.uuid),
        "text": found.domain.text,
        "persistent": found.domain.persistent,
        "epoch": found.domain.epoch,
        "paused": wish.paused,
        "saved": wish.file,
        "saved-id": found.guest.id,
        "force": wish.force,
        GIVEN: argument(found.guest.given),
        VCPUS: found.guest.vcpus,
        "cpu": None if found.guest.cpu is None else cpu_argument(found.guest.cpu),
        "notices": [asdict(notice) for notice in found.loaded.notices],
    }
    return await environment.jobs.submit(JobKind.RESTORE, found.domain.name, arguments)


async def _plan(environment: Environment, domain: Domain, guest: SavedGuest) -> LaunchPlan:
    """With what the guest had."""
    return await environment.plan(domain, 0, given=guest.cpu, memory=guest.given, vcpus=guest.vcpus)


async def look(environment: Environment, file: str) -> tuple[SavedGuest, tuple[SavedDisk, ...], SaveFacts]:
    """What a file says of the guest in it."""
    check_path(file)
    facts = await save_files(environment).facts(file)
    return read_guest(facts.header, file), read_disks(facts.tail, file), facts


def _loaded(environment: Environment, wish: RestoreWish, guest: SavedGuest) -> Loaded:
    if wish.source is not None:
        return load_source(environment, wish.source)
    return load(guest.text, file=wish.file, cwd=PurePosixPath("/"))


def _domain(environment: Environment, guest: SavedGuest, loaded: Loaded, known: Domain | None) -> Domain:
    """The domain that is to go on: one that is known keeps its name, all keep their UUID."""
    config, text = loaded.config, loaded.text
    if known is not None:
        _check_known(environment, known)
        if config.name != known.name:
            text = with_value(text, "name", known.name)
    if config.uuid not in (None, guest.uuid):
        text = with_value(text, "uuid", str(guest.uuid))
    if text != loaded.text:
        config = load(text, file="<stored>", cwd=PurePosixPath("/")).config
    if known is not None:
        return replace(known, config=config, text=text)
    domain = Domain(
        uuid=guest.uuid,
        config=config,
        text=text,
        persistent=guest.persistent,
        epoch=guest.epoch + 1,
        created_at=environment.clock.now(),
    )
    check_name(environment, domain)
    return domain


def _check_known(environment: Environment, known: Domain) -> None:
    if known.template:
        raise NameInUse(
            f"{known.name} has become a template", hint=f"wirt template to-domain {known.name} makes it one again"
        )
    if known.incarnation is not None:
        raise IllegalState(
            f"domain {known.name} is {known.state}, and would be there twice",
            hint=f"wirt destroy {known.name} first, if what is in the file is what you want",
        )
    check_names_settled(environment, known)


def _other_memory(guest: SavedGuest, loaded: Loaded) -> tuple[str, ...]:
    """What a configuration of now says otherwise than the one of then. The guest has what it was started with,
    which either may differ from."""
    then = load(guest.text, file=guest.name, cwd=PurePosixPath("/")).config.most_mib
    now = loaded.config.most_mib
    return () if then == now else (f"memory was {then} MiB and is {now} MiB",)


async def _check_hardware(
    environment: Environment, guest: SavedGuest, plan: LaunchPlan, more: tuple[str, ...] = ()
) -> None:
    lacks = missing_cpu(guest, (await environment.hypervisor.facts()).cpu)
    if lacks is not None:
        raise IllegalState(
            f"{guest.name} can't go on here: {lacks}, and this host has not",
            hint="restore it on a host that has; wirt cpu baseline finds a CPU for all hosts",
        )
    found = (*more, *differences(guest, plan))
    if found:
        raise IllegalState(
            f"{guest.name} would not find the machine that it was saved on: {'; '.join(found)}",
            hint="take the configuration of then, with other paths only, and a host with the same accelerator",
        )


async def _doubts(environment: Environment, disks: tuple[SavedDisk, ...], plan: LaunchPlan) -> tuple[str, ...]:
    return written_since(disks, await stamps_of_plan(environment, plan))


def _refused(guest: SavedGuest, file: str, doubts: tuple[str, ...]) -> IllegalState:
    return IllegalState(
        f"{guest.name} can't go on from {file}: {'; '.join(doubts)}",
        hint="its memory and such disks together destroy file systems; begin anew with wirt start or wirt create, "
        "or go on all the same with --force",
    )


def _remarks(guest: SavedGuest, version: tuple[int, int, int]) -> tuple[str, ...]:
    if version >= guest.version:
        return ()
    then, now = (".".join(map(str, each)) for each in (guest.version, version))
    return (f"it was saved by version {then} of its hypervisor, and this host has {now}, which may not read it",)


async def _reserve(context: EnvContext) -> None:
    """Its name and its record are this job's from here on."""
    environment, arguments = context.environment, context.job.arguments
    uuid = UUID(arguments["uuid"])
    config = load(arguments["text"], file="<stored>", cwd=PurePosixPath("/")).config
    await check_disks_free(environment, uuid, config)
    known = environment.domains.get(uuid)
    if known is None:
        domain = Domain(
            uuid=uuid,
            config=config,
            text=arguments["text"],
            persistent=arguments["persistent"],
            epoch=arguments["epoch"],
            created_at=environment.clock.now(),
            created_by=context.job.id,
        )
        await environment.domains.add(domain)
        return
    _check_known(environment, known)
    await context.note(before={"text": known.text, "wanted": str(known.wanted), "saved": known.saved})
    await environment.domains.change(uuid, config=config, text=arguments["text"], wanted=Wanted.ON, saved=None)


async def _release(context: EnvContext) -> None:
    environment, uuid = context.environment, UUID(context.job.arguments["uuid"])
    domain, before = environment.domains.get(uuid), context.job.notes.get("before")
    if domain is None or domain.incarnation is not None:
        return
    if before is not None:
        await environment.domains.change(uuid, **_as_before(before))
    elif domain.created_by == context.job.id:
        await environment.domains.remove(uuid)
        environment.tell(domain, reason="not restored")


def _as_before(before: dict[str, Any]) -> dict[str, Any]:
    config = load(before["text"], file="<stored>", cwd=PurePosixPath("/")).config
    return {"config": config, "text": before["text"], "wanted": Wanted(before["wanted"]), "saved": before["saved"]}


async def _compare(context: EnvContext) -> None:
    """Once more, now that nobody else can write the disks."""
    environment, arguments = context.environment, context.job.arguments
    guest, disks, _ = await look(environment, arguments["saved"])
    if guest.id != arguments["saved-id"]:
        raise IllegalState(f"{arguments['saved']} is another file by now", hint="try again")
    plan = await _plan(environment, domain_of(context), guest)
    await _check_hardware(environment, guest, plan)
    doubts = await _doubts(environment, disks, plan)
    if doubts and not arguments["force"]:
        raise _refused(guest, arguments["saved"], doubts)


_DISKS, *_REST = START_STEPS

RESTORE_GUEST = Operation(
    JobKind.RESTORE,
    (Step("reserve", _reserve, _release), _DISKS, Step("compare", _compare, nothing_to_undo), *_REST),
    recovery=Recovery.UNDO,
)
