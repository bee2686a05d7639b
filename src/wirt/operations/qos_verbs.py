"""``wirt qos-class`` and ``wirt qos``: classes of service defined, changed and destroyed, and given to domains.

A class is written down first and then laid on every guest that runs with it. Guests that can't be changed are told
of and keep nobody else from it; the same again tries them anew. Whoever dies in between leaves a journal that says
so, and the next daemon lays on what is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from wirt.config.qos import read_class, with_words, words_of
from wirt.config.xlcfg import with_value
from wirt.model.domain import Domain, DomainConfig
from wirt.model.errors import BadInput, NameInUse, ResourceBusy
from wirt.model.job import Job, Recovery
from wirt.model.qos import NAME_HINT, NO_CLASS, QosClass, name_fault
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.moving import settled
from wirt.operations.networks_upkeep import weight_remarks
from wirt.operations.qos_hold import hold_all, hold_one
from wirt.operations.running import EnvContext, domain_of
from wirt.operations.sched_verbs import guest, read
from wirt.operations.scheduling import disk_remarks
from wirt.plan.qos import Held, held, remarks

EVENT = "qos-class"


@dataclass(frozen=True, slots=True)
class ClassUse:
    """A class, and all domains that name it, also those that are off."""

    qos: QosClass
    domains: tuple[Domain, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """All that classes can speak of, as it is for one domain. ``remarks``: what of its class it can't have."""

    domain: Domain
    rows: tuple[Held, ...]
    remarks: tuple[str, ...]


def look(environment: Environment) -> tuple[ClassUse, ...]:
    """By name."""
    return tuple(ClassUse(qos, users(environment, qos.name)) for qos in environment.qos_classes)


def look_at(environment: Environment, name: str) -> ClassUse:
    return ClassUse(environment.qos_classes.find(name), users(environment, name))


def users(environment: Environment, name: str) -> tuple[Domain, ...]:
    return tuple(domain for domain in environment.domains if domain.config.qos == name)


def terms(environment: Environment, ref: str) -> Terms:
    domain = guest(environment, ref)
    name, qos = domain.config.qos, environment.qos_classes.get(domain.config.qos)
    if qos is not None:
        said = remarks(domain.config, qos)
    elif name is not None:
        said = (f"there is no class {name} on this host, and so it has nothing of one",)
    else:
        said = ()
    said = (*said, *disk_remarks(environment, domain), *weight_remarks(environment, domain))
    return Terms(domain, held(domain.config, qos), said)


def check_class(environment: Environment, config: DomainConfig) -> None:
    """``NotFound`` with those that exist."""
    if config.qos is not None:
        environment.qos_classes.find(config.qos)


async def define(environment: Environment, name: str, words: Mapping[str, str]) -> Job:
    """``BadInput`` says which word can't be, and what can."""
    fault = name_fault(name)
    if fault is not None:
        raise BadInput(fault, hint=NAME_HINT)
    if environment.qos_classes.get(name) is not None:
        hint = f"wirt qos-class set {name} changes it; wirt qos-class show {name} shows it"
        raise NameInUse(f"there is a class of service {name} already", hint=hint)
    qos = read_class(name, words)
    if not words_of(qos):
        raise BadInput(f"what is class {name} to say?", hint="as in --weight 512 or --iops 500")
    return await environment.jobs.submit(JobKind.QOS_CLASS, name, {"words": dict(words), "new": True})


async def change(environment: Environment, name: str, words: Mapping[str, str]) -> Job:
    """What is not named stays; empty or ``none`` takes a word away. Without words the class is laid on again."""
    with_words(environment.qos_classes.find(name), words)
    return await environment.jobs.submit(JobKind.QOS_CLASS, name, {"words": dict(words), "new": False})


async def destroy(environment: Environment, name: str, *, force: bool = False) -> Job:
    """``ResourceBusy`` while a domain names it, also one that is off, unless ``force``: then those have only what
    they say themselves."""
    environment.qos_classes.find(name)
    _check_unused(environment, name, force=force)
    return await environment.jobs.submit(JobKind.QOS_CLASS_DESTROY, name, {"force": force})


async def set_class(environment: Environment, ref: str, name: str | None) -> Job:
    """``None`` or ``none`` takes it away."""
    domain = guest(environment, ref)
    name = None if name in (None, "", NO_CLASS) else name
    if name is not None:
        environment.qos_classes.find(name)
    read(with_value(domain.text, "qos", name), domain.name)
    arguments = {"uuid": str(domain.uuid), "class": name}
    return await environment.jobs.submit(JobKind.QOS, domain.name, arguments)


def _check_unused(environment: Environment, name: str, *, force: bool) -> None:
    names = [domain.name for domain in users(environment, name)]
    if names and not force:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        raise ResourceBusy(
            f"class of service {name} is that of {', '.join(names[:5])}{more}",
            hint=f"wirt qos {names[0]} {NO_CLASS} takes it from one; --force destroys it all the same, and they "
            "have only what they say themselves",
        )


async def _record(context: EnvContext) -> None:
    environment, name, arguments = context.environment, context.job.subject, context.job.arguments
    async with environment.qos_classes.lock:
        now = environment.qos_classes.get(name)
        if "before" not in context.job.notes:
            if arguments["new"] and now is not None:
                raise NameInUse(f"there is a class of service {name} already")
            if not arguments["new"] and now is None:
                environment.qos_classes.find(name)
            await context.note(before=None if now is None else words_of(now))
        before = context.job.notes["before"] or {}
        await environment.qos_classes.put(with_words(read_class(name, before), arguments["words"]))


async def _record_as_before(context: EnvContext) -> None:
    """The guests go back to it as well, as far as they can: what could not be changed is in the log."""
    if "before" not in context.job.notes:
        return
    environment, name, before = context.environment, context.job.subject, context.job.notes["before"]
    async with environment.qos_classes.lock:
        if before is None:
            await environment.qos_classes.remove(name)
        else:
            await environment.qos_classes.put(read_class(name, before))
    await _hold_users(context)


async def _hold(context: EnvContext) -> None:
    await _hold_users(context)
    environment, name = context.environment, context.job.subject
    qos = environment.qos_classes.get(name)
    words = {} if qos is None else words_of(qos)
    environment.bus.publish(EVENT, None, None, {"name": name, "words": words, **_told(context)})


def _told(context: EnvContext) -> dict[str, Any]:
    found: dict[str, Any] = context.job.notes["result"]
    return {"changed": found["changed"], "failed": found["failed"]}


async def _hold_users(context: EnvContext) -> None:
    environment, name = context.environment, context.job.subject
    domains = users(environment, name)
    failed = [asdict(each) for each in await hold_all(environment, domains)]
    amiss = {each["domain"] for each in failed}
    changed = [domain.name for domain in domains if domain.name not in amiss]
    await context.note(result={"name": name, "changed": changed, "failed": failed})


async def _forget(context: EnvContext) -> None:
    environment, name = context.environment, context.job.subject
    async with environment.qos_classes.lock:
        now = environment.qos_classes.get(name)
        if "before" not in context.job.notes:
            qos = environment.qos_classes.find(name)
            _check_unused(environment, name, force=context.job.arguments["force"])
            await context.note(before=words_of(qos))
        if now is not None:
            await environment.qos_classes.remove(name)


async def _name(context: EnvContext) -> None:
    environment, domain, name = context.environment, domain_of(context), context.job.arguments["class"]
    async with environment.qos_classes.lock:
        if name is not None:
            environment.qos_classes.find(name)
        if "before" not in context.job.notes:
            await context.note(before=domain.config.qos)
        await _write(environment, settled(domain), name)
    await context.note(result={"name": domain.name, "class": name})


async def _name_as_before(context: EnvContext) -> None:
    if "before" in context.job.notes:
        domain = domain_of(context)
        await _write(context.environment, domain, context.job.notes["before"])
        await hold_one(context.environment, domain.uuid)


async def _write(environment: Environment, domain: Domain, name: str | None) -> None:
    if domain.config.qos != name:
        text = with_value(domain.text, "qos", name)
        await environment.domains.change(domain.uuid, config=read(text, domain.name), text=text)


async def _hold_named(context: EnvContext) -> None:
    uuid = UUID(context.job.arguments["uuid"])
    await hold_one(context.environment, uuid)
    context.environment.tell(domain_of(context), change="qos", qos=context.job.arguments["class"])


QOS_OPERATIONS = (
    Operation(
        JobKind.QOS_CLASS,
        (Step("record", _record, _record_as_before), Step("hold", _hold, nothing_to_undo, interruptible=True)),
        recovery=Recovery.FINISH,
    ),
    Operation(
        JobKind.QOS_CLASS_DESTROY,
        (Step("forget", _forget, _record_as_before), Step("hold", _hold, nothing_to_undo, interruptible=True)),
        recovery=Recovery.FINISH,
    ),
    Operation(
        JobKind.QOS,
        (Step("record", _name, _name_as_before), Step("hold", _hold_named, nothing_to_undo)),
        recovery=Recovery.FINISH,
    ),
)
