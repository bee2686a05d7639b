"""``wirt template``: a domain that is never run, so that others can be made from it and stand on its disks.

Its volumes are held for reading, in its name, for as long as it is a template: whoever would write one is refused,
on this host and on those that share the pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from wirt.config.xlcfg import name_fault
from wirt.model.domain import Domain, Wanted
from wirt.model.errors import BadInput, IllegalState, NameInUse, NotFound, ResourceBusy
from wirt.model.job import Job, Recovery
from wirt.model.storage import Holder, VolumeRef
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.running import EnvContext, domain_of
from wirt.operations.volumes_domain import holder_of, names_of
from wirt.operations.volumes_steps import check_free, check_no_snapshots, owners, remove_volumes, tell
from wirt.plan.clones import copied_disks


async def create(environment: Environment, ref: str, name: str | None = None) -> Job:
    """What can be known to be wrong is raised now, before there is a job."""
    domain = environment.domains.find(ref)
    _check_off(domain)
    copied_disks(domain)
    for volume in volumes_of_template(domain):
        check_no_snapshots(environment, volume)
    if name is not None:
        _check_name(environment, domain, name)
    for volume in volumes_of_template(domain):
        check_free(environment, volume, writes=False)
    arguments: dict[str, Any] = {"uuid": str(domain.uuid), "name": name or domain.name, "before": domain.name}
    return await environment.jobs.submit(JobKind.TEMPLATE_CREATE, domain.name, arguments)


async def destroy(environment: Environment, ref: str, *, delete_volumes: bool = False) -> Job:
    """Forget it; with ``delete_volumes`` its volumes go too, unless something stands on them."""
    template = find(environment, ref)
    if delete_volumes:
        await _check_deletable(environment, template)
    arguments = {
        "uuid": str(template.uuid),
        "volumes": [str(ref) for ref in volumes_of_template(template)] if delete_volumes else [],
    }
    return await environment.jobs.submit(JobKind.TEMPLATE_DESTROY, template.name, arguments)


async def to_domain(environment: Environment, ref: str) -> Job:
    """A domain again, which may be started and write its disks; so nothing may stand on them."""
    template = find(environment, ref)
    await _check_no_clones(environment, template)
    arguments = {"uuid": str(template.uuid), "name": template.name, "before": template.name}
    return await environment.jobs.submit(JobKind.TEMPLATE_TO_DOMAIN, template.name, arguments)


def find(environment: Environment, ref: str) -> Domain:
    domain = environment.domains.find_any(ref)
    if not domain.template:
        raise NotFound(
            f"{domain.name} is a domain, and no template", hint=f"wirt template create {domain.name} makes it one"
        )
    return domain


def volumes_of_template(domain: Domain) -> tuple[VolumeRef, ...]:
    """Those that clones begin as; what it only reads is not its own."""
    named = (disk.volume for disk in copied_disks(domain))
    return tuple(dict.fromkeys(VolumeRef.parse(volume) for volume in named if volume is not None))


async def clones_of(environment: Environment, template: Domain) -> tuple[VolumeRef, ...]:
    """The volumes that stand on its own."""
    found: list[VolumeRef] = []
    for ref in volumes_of_template(template):
        pool = await environment.pools.open(ref.pool)
        found += [VolumeRef(ref.pool, each.name) for each in await pool.volumes() if each.backing == ref.volume]
    return tuple(found)


def _check_off(domain: Domain) -> None:
    if domain.incarnation is not None:
        raise IllegalState(f"domain {domain.name} is {domain.state}", hint=f"wirt shutdown {domain.name} first")


def _check_name(environment: Environment, domain: Domain, name: str) -> None:
    fault = name_fault(name)
    if fault is not None:
        raise BadInput(fault, hint=f"domain {domain.name} keeps its name")
    other = environment.domains.named(name)
    if other is not None and other.uuid != domain.uuid:
        raise NameInUse(f"there is a domain called {name} already", hint="choose another name")


async def _check_no_clones(environment: Environment, template: Domain) -> None:
    clones = await clones_of(environment, template)
    if clones:
        more = f" and {len(clones) - 3} more" if len(clones) > 3 else ""
        raise ResourceBusy(
            f"the template {template.name} is what {', '.join(map(str, clones[:3]))}{more} stand on",
            hint="remove those first, or make them independent: wirt volume copy",
        )


async def _check_deletable(environment: Environment, template: Domain) -> None:
    await _check_no_clones(environment, template)
    for ref in volumes_of_template(template):
        others = [each for each in owners(environment, ref) if each.uuid != template.uuid]
        if others:
            raise IllegalState(
                f"volume {ref} is a disk of domain {others[0].name} too",
                hint=f"wirt undefine {others[0].name}, or keep the volumes",
            )


async def _freeze(context: EnvContext) -> None:
    """From here on nobody writes its volumes."""
    environment, domain = context.environment, domain_of(context)
    _check_off(domain)
    if domain.template:
        raise IllegalState(f"{domain.name} is a template already")
    await context.note(freezing=True)
    await environment.pools.holders.claim(_held(environment, domain), names_of(environment))


def _held(environment: Environment, domain: Domain) -> Mapping[VolumeRef, Holder]:
    holder = replace(holder_of(environment, domain), writes=False, template=True)
    return dict.fromkeys(volumes_of_template(domain), holder)


async def _thaw_again(context: EnvContext) -> None:
    """Only what this job froze: the domain may run, which is why it failed."""
    if context.job.notes.get("freezing"):
        await _thaw(context)


async def _thaw(context: EnvContext) -> None:
    await context.environment.pools.holders.release(context.job.arguments["uuid"])


async def _become_template(context: EnvContext) -> None:
    await _change(context, context.job.arguments["name"], template=True)
    await context.note(result=_result(context, context.job.arguments["name"]))


async def _become_domain(context: EnvContext) -> None:
    await _check_no_clones(context.environment, domain_of(context))
    await _change(context, context.job.arguments["name"], template=False)
    await context.note(result=_result(context, context.job.arguments["name"]))


async def _back_to_domain(context: EnvContext) -> None:
    await _change(context, context.job.arguments["before"], template=False)


async def _back_to_template(context: EnvContext) -> None:
    await _change(context, context.job.arguments["before"], template=True)


async def _change(context: EnvContext, name: str, *, template: bool) -> None:
    environment, domain = context.environment, domain_of(context)
    if (domain.name, domain.template) == (name, template):
        return
    changes: dict[str, Any] = {"template": template, "wanted": Wanted.OFF}
    if name != domain.name:
        changes |= {
            "config": replace(domain.config, name=name),
            "text": environment.rename_in_text(domain.text, name),
        }
    changed = await environment.domains.change(domain.uuid, **changes)
    environment.tell(changed, template=template)


def _result(context: EnvContext, name: str) -> dict[str, str]:
    return {"uuid": context.job.arguments["uuid"], "name": name}


async def _take_whole(context: EnvContext) -> None:
    """Its volumes as one who writes: while a clone is being read from one, or a domain has it, that is refused."""
    environment, arguments = context.environment, context.job.arguments
    template = environment.domains.get(UUID(arguments["uuid"]))
    if template is None or not arguments["volumes"]:
        return
    await _check_deletable(environment, template)
    whole = {ref: replace(held, writes=True) for ref, held in _held(environment, template).items()}
    await environment.pools.holders.claim(whole, names_of(environment))


async def _freeze_again(context: EnvContext) -> None:
    environment = context.environment
    template = environment.domains.get(UUID(context.job.arguments["uuid"]))
    if template is None:
        await _thaw(context)
    else:
        await environment.pools.holders.claim(_held(environment, template), names_of(environment))


async def _forget(context: EnvContext) -> None:
    environment = context.environment
    template = environment.domains.get(UUID(context.job.arguments["uuid"]))
    if template is not None:
        await environment.domains.remove(template.uuid)
        environment.tell(template, reason="undefined")


async def _remove(context: EnvContext) -> None:
    """They are nobody's by now. One that can't be removed stays a volume that can be removed by hand."""
    environment = context.environment
    refs = [VolumeRef.parse(each) for each in context.job.arguments["volumes"]]
    await remove_volumes(environment, refs)
    for ref in refs:
        tell(environment, ref, "destroyed")
    await _thaw(context)


TEMPLATES = (
    Operation(
        JobKind.TEMPLATE_CREATE,
        (
            Step("freeze", _freeze, _thaw_again),
            Step("mark", _become_template, _back_to_domain),
        ),
        recovery=Recovery.UNDO,
    ),
    Operation(
        JobKind.TEMPLATE_TO_DOMAIN,
        (
            Step("mark", _become_domain, _back_to_template),
            Step("thaw", _thaw, _freeze_again),
        ),
        recovery=Recovery.UNDO,
    ),
    Operation(
        JobKind.TEMPLATE_DESTROY,
        (
            Step("reserve", _take_whole, _freeze_again),
            Step("forget", _forget, nothing_to_undo, final=True),
            Step("remove", _remove, _thaw),
        ),
        recovery=Recovery.FINISH,
    ),
)
