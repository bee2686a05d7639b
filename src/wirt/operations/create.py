"""``wirt create``, ``define`` and ``create -n``: from an xl.cfg to a domain that is known, and runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from uuid import UUID

from wirt.config.xlcfg import Loaded, load
from wirt.model.domain import Domain, Wanted
from wirt.model.errors import IllegalState, NameInUse
from wirt.model.job import Job, Recovery
from wirt.operations.backing import check_backing
from wirt.operations.checks import check_disks_free, check_files
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step
from wirt.operations.placement import check_place
from wirt.operations.qos_verbs import check_class
from wirt.operations.running import START_STEPS, EnvContext, domain_of
from wirt.operations.scheduling import check_terms
from wirt.plan.launch import LaunchPlan

DOMAIN_ZERO = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Source:
    """An xl.cfg as someone handed it in. Relative paths in it start from ``cwd``."""

    text: str
    file: str
    cwd: str
    overrides: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    loaded: Loaded
    plan: LaunchPlan
    command: tuple[str, ...]


async def preview(environment: Environment, source: Source) -> Preview:
    """What ``create`` would do, and nothing done. Raises what ``create`` would."""
    loaded, domain = _read(environment, source, persistent=False)
    await _check(environment, domain)
    domid = await environment.domains.likely_domid()
    planned = await environment.plan(domain, domid)
    await check_backing(environment, planned)
    command = environment.hypervisor.describe(planned, environment.directory(domid))
    return Preview(loaded, planned, command)


async def create(
    environment: Environment, source: Source, *, paused: bool = False, persistent: bool = False
) -> Job:
    """Start a new domain. What can be known to be wrong is raised now, before there is a job."""
    loaded, domain = _read(environment, source, persistent=persistent)
    await _check(environment, domain)
    await check_backing(environment, await environment.plan(domain, 0))
    arguments = {
        "uuid": str(domain.uuid),
        "text": domain.text,
        "paused": paused,
        "persistent": persistent,
        "notices": [asdict(notice) for notice in loaded.notices],
    }
    return await environment.jobs.submit(JobKind.CREATE, domain.name, arguments)


async def define(environment: Environment, source: Source) -> tuple[Domain, Loaded]:
    """Make a domain known that persists while it is off. Files need not be there yet."""
    loaded, domain = _read(environment, source, persistent=True)
    check_name(environment, domain)
    check_class(environment, domain.config)
    domain = await environment.domains.add(domain)
    environment.tell(domain)
    return domain, loaded


def load_source(environment: Environment, source: Source) -> Loaded:
    cwd, pools = PurePosixPath(source.cwd), environment.pools.names()
    return load(source.text, file=source.file, cwd=cwd, overrides=source.overrides, pools=pools)


def _read(environment: Environment, source: Source, *, persistent: bool) -> tuple[Loaded, Domain]:
    loaded = load_source(environment, source)
    uuid = loaded.config.uuid or environment.new_uuid()
    return loaded, _domain(environment, uuid, loaded.text, persistent)


def _domain(environment: Environment, uuid: UUID, text: str, persistent: bool) -> Domain:
    config = load(text, file="<stored>", cwd=PurePosixPath("/")).config
    return Domain(
        uuid=uuid,
        config=config,
        text=text,
        persistent=persistent,
        wanted=Wanted.OFF if persistent else Wanted.ON,
        created_at=environment.clock.now(),
    )


def check_name(environment: Environment, domain: Domain) -> None:
    other = environment.domains.named(domain.name)
    if other is not None or domain.name == "Domain-0":
        what = "template" if other is not None and other.template else "domain"
        raise NameInUse(
            f"there is a {what} called {domain.name} already",
            hint=f"choose another (wirt create FILE name=OTHER), or wirt destroy {domain.name} first",
        )
    if domain.uuid == DOMAIN_ZERO:
        raise NameInUse(f"{domain.uuid} is the UUID of Domain-0", hint="leave uuid out to get a new one")


async def _check(environment: Environment, domain: Domain) -> None:
    check_name(environment, domain)
    check_class(environment, domain.config)
    check_terms(domain.config)
    check_place(environment, domain)
    check_files(environment, domain.config)
    await check_disks_free(environment, domain.uuid, domain.config)


async def _reserve(context: EnvContext) -> None:
    """The name is ours from here on: of two creates at once, one fails in this step."""
    environment, arguments = context.environment, context.job.arguments
    uuid = UUID(arguments["uuid"])
    domain = _domain(environment, uuid, arguments["text"], arguments["persistent"])
    await check_disks_free(environment, uuid, domain.config)
    await environment.domains.add(replace(domain, created_by=context.job.id))


async def _release(context: EnvContext) -> None:
    """Only what this job itself recorded: the name may be another domain's, which is why it failed."""
    environment, uuid = context.environment, UUID(context.job.arguments["uuid"])
    domain = environment.domains.get(uuid)
    if domain is not None and domain.created_by == context.job.id:
        await environment.domains.remove(uuid)
        environment.tell(replace(domain, incarnation=None), reason="not created")


CREATE = Operation(JobKind.CREATE, (Step("reserve", _reserve, _release), *START_STEPS), recovery=Recovery.UNDO)


async def _want_on(context: EnvContext) -> None:
    """Of two starts at once, the second fails here, before it could touch the first one's run."""
    environment, domain = context.environment, domain_of(context)
    if domain.template:
        raise IllegalState(f"{domain.name} has become a template meanwhile", hint=f"wirt clone {domain.name} NEW")
    if domain.incarnation is not None and domain.domid != context.job.notes.get("domid"):
        raise IllegalState(f"domain {domain.name} is {domain.state} already")
    await check_disks_free(environment, domain.uuid, domain.config)
    if domain.saved is not None:
        await context.note(saved=domain.saved)
    await environment.domains.change(domain.uuid, wanted=Wanted.ON, saved=None)


async def _want_off(context: EnvContext) -> None:
    environment, uuid = context.environment, UUID(context.job.arguments["uuid"])
    domain = environment.domains.get(uuid)
    if domain is not None and domain.incarnation is None:
        saved = context.job.notes.get("saved", domain.saved)
        await environment.domains.change(uuid, wanted=Wanted.OFF, saved=saved)


WANT_ON = Step("want-on", _want_on, _want_off)
START = Operation(JobKind.START, (WANT_ON, *START_STEPS), recovery=Recovery.UNDO)
