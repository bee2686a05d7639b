"""``wirt clone``: new domains from a template, or from a domain that is off, each with disks, a name and addresses
of its own. All of them or none.

Arguments of the job: ``uuid``, the source's, in whose lane it runs; ``clones``, a list of what each is to be;
``linked``; ``ssh-keys`` and ``user-data``. Notes: ``absent``, once it is known that no volume that the job makes
was there before it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

from wirt.config.xlcfg import load
from wirt.model.devices import DiskFormat
from wirt.model.domain import Domain, Wanted
from wirt.model.errors import BadInput, IllegalState, NameInUse, ResourceBusy, Unavailable
from wirt.model.job import Job, Recovery
from wirt.model.storage import Capability, Holder, Volume, VolumeRef
from wirt.operations.backing import remember_made
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.running import EnvContext, domain_of
from wirt.operations.volumes import check_room
from wirt.operations.volumes_copy import check_volume_chain
from wirt.operations.volumes_domain import names_of
from wirt.operations.volumes_holders import AT_ONCE
from wirt.operations.volumes_room import told_if_full
from wirt.operations.volumes_steps import (
    check_absent,
    check_can_create,
    check_free,
    check_size,
    image_tool,
    remove_volumes,
    tell,
)
from wirt.plan.clones import ClonePlan, CloneWish, DiskCopy, Taken, clone_names, plan_clones
from wirt.plan.nocloud import VOLUME_ID, check_ssh_key, check_user_data, seed_files
from wirt.ports.files import touch
from wirt.ports.seeds import SeedMaker
from wirt.ports.storage import NewVolume, Progress


@dataclass(frozen=True, slots=True)
class CloneRequest:
    """``linked``: the new volumes stand on the source's and take only what is written to them (``None``: of a
    template where its pool can, else not). ``ssh_keys`` and ``user_data`` are for guests with cloud-init."""

    source: str
    new: str
    count: int | None = None
    linked: bool | None = None
    pool: str | None = None
    identity: bool = True
    ssh_keys: Sequence[str] = ()
    user_data: str | None = None


async def clone(environment: Environment, request: CloneRequest) -> Job:
    """What can be known to be wrong is raised now, before there is a job."""
    source = environment.domains.find_any(request.source)
    _check_off(source)
    _check_identity(request)
    names = clone_names(request.new, request.count)
    for name in names:
        check_new_name(environment, name)
    wish = CloneWish(names, request.pool, request.identity)
    plans = plan_clones(source, wish, Taken.by(list(environment.domains)), uuids(environment))
    linked = await _check_volumes(environment, source, plans, request)
    arguments: dict[str, Any] = {
        "uuid": str(source.uuid),
        "linked": linked,
        "clones": [written(plan) for plan in plans],
        "ssh-keys": list(request.ssh_keys),
        "user-data": request.user_data,
    }
    return await environment.jobs.submit(JobKind.CLONE, request.new, arguments)


def _check_off(source: Domain) -> None:
    if source.incarnation is not None:
        raise IllegalState(
            f"domain {source.name} is {source.state}, and its disks change while they are read",
            hint=f"wirt shutdown {source.name} first",
        )


def _check_identity(request: CloneRequest) -> None:
    if not request.identity and (request.ssh_keys or request.user_data is not None):
        raise BadInput("user data and keys reach a guest through its seed", hint="leave out --no-identity")
    for key in request.ssh_keys:
        check_ssh_key(key)
    if request.user_data is not None:
        check_user_data(request.user_data)


def check_new_name(environment: Environment, name: str) -> None:
    if environment.domains.named(name) is not None:
        raise NameInUse(f"there is a domain called {name} already", hint="choose another name for the clones")


def uuids(environment: Environment) -> Iterator[UUID]:
    while True:
        yield environment.new_uuid()


async def _check_volumes(
    environment: Environment, source: Domain, plans: Sequence[ClonePlan], request: CloneRequest
) -> bool:
    """Whether the new volumes are to be linked."""
    linked = await _linked(environment, source, plans[0], request)
    needs: dict[str, int] = {}
    for plan in plans:
        for disk in plan.disks:
            environment.pools.check_open_to_all(disk.target.pool)
            check_free(environment, disk.source, writes=False)
            pool = await environment.pools.open(disk.target.pool)
            if not linked:
                check_can_create(pool, None)
            if not linked and Capability.THIN not in pool.capabilities:
                size = (await environment.pools.volume(disk.source)).size
                needs[disk.target.pool] = needs.get(disk.target.pool, 0) + size
        for ref in made_for(plan):
            await check_absent(await environment.pools.open(ref.pool), ref.volume)
        if plan.seed is not None:
            _seeds(environment)
            pool = await environment.pools.open(plan.seed.pool)
            check_can_create(pool, DiskFormat.RAW)
    for name, size in needs.items():
        await check_room(await environment.pools.open(name), size)
    return linked


async def _linked(environment: Environment, source: Domain, plan: ClonePlan, request: CloneRequest) -> bool:
    pools = [await environment.pools.open(disk.source.pool) for disk in plan.disks]
    elsewhere = [disk for disk in plan.disks if disk.target.pool != disk.source.pool]
    unable = [pool for pool in pools if Capability.CLONE not in pool.capabilities]
    if request.linked is None:
        return source.template and not elsewhere and not unable
    if request.linked and elsewhere:
        raise BadInput(
            f"a linked clone lies in the pool of what it stands on: {elsewhere[0].source.pool}",
            hint="leave out --pool, or make full copies (--full)",
        )
    if request.linked and unable:
        config = unable[0].config
        raise BadInput(f"{config.name} is a {config.type} pool, which has no clones", hint="full copies: --full")
    return request.linked


def _seeds(environment: Environment) -> SeedMaker:
    if environment.seeds is None:
        raise Unavailable("this host can't make seeds", hint="--no-identity clones without them")
    return environment.seeds


def written(plan: ClonePlan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "uuid": str(plan.uuid),
        "text": plan.text,
        "disks": [[disk.vdev, str(disk.source), str(disk.target)] for disk in plan.disks],
        "seed": None if plan.seed is None else str(plan.seed),
        "lost": list(plan.lost),
    }


def plans_of(context: EnvContext) -> list[ClonePlan]:
    return [_read(each) for each in context.job.arguments["clones"]]


def _read(data: Mapping[str, Any]) -> ClonePlan:
    disks = tuple(DiskCopy(vdev, VolumeRef.parse(a), VolumeRef.parse(b)) for vdev, a, b in data["disks"])
    seed = None if data["seed"] is None else VolumeRef.parse(data["seed"])
    return ClonePlan(data["name"], UUID(data["uuid"]), data["text"], disks, seed, tuple(data["lost"]))


def made_for(plan: ClonePlan) -> tuple[VolumeRef, ...]:
    disks = tuple(disk.target for disk in plan.disks)
    return disks if plan.seed is None else (*disks, plan.seed)


def made_by(context: EnvContext) -> list[VolumeRef]:
    return [ref for plan in plans_of(context) for ref in made_for(plan)]


def _read_from(context: EnvContext) -> list[VolumeRef]:
    return list(dict.fromkeys(disk.source for plan in plans_of(context) for disk in plan.disks))


async def _reserve(context: EnvContext) -> None:
    """The source's volumes stay as they are, and the names of the new ones are this job's."""
    environment = context.environment
    _check_off(domain_of(context))
    mine = Holder(environment.pools.holders.host, job=context.job.id)
    wanted = {ref: replace(mine, writes=False) for ref in _read_from(context)}
    wanted |= dict.fromkeys(made_by(context), mine)
    for ref in wanted:
        environment.pools.check_open_to_all(ref.pool)
    await claim(environment, wanted)
    for ref in made_by(context):
        await check_absent(await environment.pools.open(ref.pool), ref.volume)
    await context.note(absent=True)


async def claim(environment: Environment, wanted: Mapping[VolumeRef, Holder]) -> None:
    """As many at once as a transaction takes; who fails lets go of all."""
    pairs = list(wanted.items())
    for start in range(0, len(pairs), AT_ONCE):
        await environment.pools.holders.claim(dict(pairs[start : start + AT_ONCE]), names_of(environment))


async def _release(context: EnvContext) -> None:
    await context.environment.pools.holders.release(f"job {context.job.id}")


async def _disks(context: EnvContext) -> None:
    environment, plans = context.environment, plans_of(context)
    for ref in _read_from(context):
        await check_volume_chain(environment, await environment.pools.activate(ref))
    copies = [(plan, disk) for plan in plans for disk in plan.disks]
    made: list[Volume] = []
    for number, (plan, disk) in enumerate(copies):
        share = _share(context, plan.name, number, len(copies))
        share(0.0)
        if context.job.arguments["linked"]:
            pool = await environment.pools.open(disk.target.pool)
            made.append(await pool.clone(disk.source.volume, disk.target.volume))
        else:
            await _copy(environment, disk.source, disk.target, share)
    await remember_made(environment, await chains_of(environment, made))
    for ref in _read_from(context):
        await _let_go(context, ref)


def _share(context: EnvContext, name: str, number: int, count: int) -> Progress:
    """Nearly all of the time goes here, so nearly all of the bar does."""

    def tell_share(share: float) -> None:
        context.progress(f"disks of {name}: {share:.0%}", 0.1 + (number + share) / count * 0.8)

    return tell_share


async def _copy(environment: Environment, source: VolumeRef, target: VolumeRef, progress: Progress) -> None:
    old, pool = await environment.pools.volume(source), await environment.pools.open(target.pool)
    format_ = old.format if old.format in pool.formats else pool.formats[0]
    await pool.create(NewVolume(target.volume, check_size(old.size), format_))
    try:
        async with told_if_full(environment, target):
            await image_tool(environment).convert(old, await environment.pools.activate(target), progress)
    finally:
        await environment.pools.deactivate(target)


async def chains_of(environment: Environment, made: Sequence[Volume]) -> dict[str, tuple[str, ...]]:
    """Written down before a guest that could change it is run for the first time."""
    found = {}
    for volume in made:
        if volume.format is DiskFormat.QCOW2:
            image = str(await touch(volume.path, Path(volume.path).resolve))
            found[image] = await image_tool(environment).chain(volume)
    return found


async def _let_go(context: EnvContext, ref: VolumeRef) -> None:
    """Of one that nobody else reads here."""
    mine = f"job {context.job.id}"
    if all(each.who == mine or each.template for each in context.environment.pools.holders.of(ref)):
        await context.environment.pools.deactivate(ref)


async def _give_seeds(context: EnvContext) -> None:
    environment, arguments = context.environment, context.job.arguments
    for plan in plans_of(context):
        if plan.seed is None:
            continue
        files = seed_files(plan.name, plan.uuid, arguments["ssh-keys"], arguments["user-data"])
        image = await _seeds(environment).image(VOLUME_ID, files)
        pool = await environment.pools.open(plan.seed.pool)
        await pool.create(NewVolume(plan.seed.volume, check_size(len(image)), DiskFormat.RAW))
        volume = await environment.pools.activate(plan.seed)
        await _seeds(environment).write(image, volume)
        await environment.pools.deactivate(plan.seed)


async def remove_disks(context: EnvContext) -> None:
    await _remove_made(context, [disk.target for plan in plans_of(context) for disk in plan.disks])


async def _remove_seeds(context: EnvContext) -> None:
    await _remove_made(context, [plan.seed for plan in plans_of(context) if plan.seed is not None])


async def _remove_made(context: EnvContext, refs: Sequence[VolumeRef]) -> None:
    """None of them was there before this job."""
    if not context.job.notes.get("absent"):
        return
    environment = context.environment
    mine = Holder(environment.pools.holders.host, job=context.job.id)
    ours = []
    for ref in refs:
        # If all was finished and released, someone may have it now.
        with contextlib.suppress(ResourceBusy):
            await environment.pools.holders.claim({ref: mine}, names_of(environment))
            ours.append(ref)
    await remove_volumes(environment, ours)


async def define_clones(context: EnvContext) -> None:
    """From here on they can be seen. Of two that want one name, one fails here."""
    environment = context.environment
    for plan in plans_of(context):
        domain = Domain(
            uuid=plan.uuid,
            config=load(plan.text, file=plan.name, cwd=PurePosixPath("/")).config,
            text=plan.text,
            persistent=True,
            wanted=Wanted.OFF,
            created_at=environment.clock.now(),
            created_by=context.job.id,
        )
        environment.tell(await environment.domains.add(domain))


async def undefine_clones(context: EnvContext) -> None:
    environment = context.environment
    for plan in plans_of(context):
        domain = environment.domains.get(plan.uuid)
        if domain is not None and domain.created_by == context.job.id:
            await environment.domains.remove(plan.uuid)
            environment.tell(domain, reason="not created")


async def _finish(context: EnvContext) -> None:
    await _release(context)
    plans = plans_of(context)
    lost = list(dict.fromkeys(word for plan in plans for word in plan.lost))
    await context.note(
        result={
            "domains": [{"name": plan.name, "uuid": str(plan.uuid)} for plan in plans],
            "linked": context.job.arguments["linked"],
            "seeds": [str(plan.seed) for plan in plans if plan.seed is not None],
            "lost": lost,
        }
    )
    for ref in made_by(context):
        tell(context.environment, ref, "created")


CLONE = Operation(
    JobKind.CLONE,
    (
        Step("reserve", _reserve, _release),
        Step("disks", _disks, remove_disks, interruptible=True),
        Step("seeds", _give_seeds, _remove_seeds),
        Step("define", define_clones, undefine_clones),
        Step("release", _finish, nothing_to_undo),
    ),
    recovery=Recovery.UNDO,
)
