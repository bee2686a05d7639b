"""``wirt export``: a domain that is off, as one file that other hosts read: OVF and its disks in an OVA.

Arguments that the steps read: ``uuid`` of the domain, ``file``, ``file-format`` of the disks in it,
``volumes``, those that are read. Notes that they write: ``packing`` while a file of that name is this job's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from wirt.config import ovf
from wirt.model.devices import DiskFormat, DiskSpec, devids
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, IllegalState, NameInUse, NotFound, Shortage
from wirt.model.job import Job, Recovery
from wirt.model.storage import Holder, Image, ImageFormat, Volume, VolumeRef
from wirt.model.units import MIB
from wirt.operations.environment import Environment
from wirt.operations.import_domain import reader
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.running import EnvContext
from wirt.operations.volumes_copy import check_volume_chain
from wirt.operations.volumes_domain import names_of
from wirt.operations.volumes_steps import check_free, image_tool, release
from wirt.plan.exports import ExportPlan, plan_export, with_sizes
from wirt.plan.nics import generated_mac

_WRITTEN, _PACKED = 0.7, 0.98
_OPTIONS = {ImageFormat.VMDK: {"subformat": "streamOptimized"}}


@dataclass(frozen=True, slots=True)
class ExportPreview:
    """``name`` of the domain, and the ``file`` that would be written."""

    name: str
    file: str
    plan: ExportPlan


async def preview(environment: Environment, ref: str, file: str, form: ImageFormat) -> ExportPreview:
    """What :func:`export` would do, and nothing done. Raises what it would."""
    domain = environment.domains.find(ref)
    if form not in ovf.FORMATS:
        known = " or ".join(ovf.FORMATS)
        raise BadInput(f"an OVF package has no {form} disks", hint=f"--format {known}")
    if Path(file).suffix != ".ova":
        raise BadInput(f"{file} would be an OVA and is not called so", hint=f"{Path(file).stem}.ova")
    _check_off(domain)
    plan = _plan(domain, form)
    if await reader(environment).exists(file):
        raise NameInUse(f"there is a file {file} already", hint="choose another name")
    for ref_ in _volumes(domain, plan):
        check_free(environment, ref_, writes=False)
    await _check_room(environment, domain, plan, file)
    return ExportPreview(domain.name, file, plan)


async def export(environment: Environment, ref: str, file: str, form: ImageFormat) -> Job:
    """What can be known to be wrong is raised now, before there is a job."""
    found = await preview(environment, ref, file, form)
    domain = environment.domains.find(ref)
    arguments = {
        "uuid": str(domain.uuid),
        "file": file,
        "file-format": str(form),
        "volumes": [str(each) for each in _volumes(domain, found.plan)],
    }
    return await environment.jobs.submit(JobKind.EXPORT, domain.name, arguments)


def _plan(domain: Domain, form: ImageFormat) -> ExportPlan:
    vifs = domain.config.vifs
    macs = [vif.mac or generated_mac(domain.uuid, index) for index, vif in zip(devids(vifs), vifs, strict=True)]
    return plan_export(domain, macs, form)


def _check_off(domain: Domain) -> None:
    if domain.incarnation is not None:
        raise IllegalState(f"domain {domain.name} runs", hint=f"wirt shutdown {domain.name} first")


def _volumes(domain: Domain, plan: ExportPlan) -> list[VolumeRef]:
    disks = [domain.config.disks[each.place] for each in plan.disks]
    return [VolumeRef.parse(disk.volume) for disk in dict.fromkeys(disks) if disk.volume is not None]


async def _check_room(environment: Environment, domain: Domain, plan: ExportPlan, file: str) -> None:
    """For the disks by themselves and in the archive: as much as they take here, at most, each time."""
    needed = 0
    for each in plan.disks:
        disk = domain.config.disks[each.place]
        if disk.volume is not None:
            needed += (await environment.pools.volume(VolumeRef.parse(disk.volume))).allocated
        elif disk.target is not None:
            facts = await image_tool(environment).inspect(disk.target, disk.format)
            needed += facts.allocated
    room = await reader(environment).room(file)
    if 2 * needed > room:
        raise Shortage(
            f"{file} takes up to {2 * needed // MIB} MiB while it is written, and {room // MIB} MiB are left",
            hint="choose another place",
        )


# The steps


def _domain(context: EnvContext) -> Domain:
    uuid = UUID(context.job.arguments["uuid"])
    domain = context.environment.domains.get(uuid)
    if domain is None:
        raise NotFound(f"domain {context.job.subject} is gone")
    return domain


def _scratch(context: EnvContext) -> Path:
    """Beside the file, so that what is written there gets its name without being copied."""
    return Path(context.job.arguments["file"]).parent / f".wirt-export-{context.job.id}"


async def _reserve(context: EnvContext) -> None:
    """Others may read the volumes too; nobody starts the domain, for its lane is this job's."""
    environment, holders = context.environment, context.environment.pools.holders
    _check_off(_domain(context))
    holder = Holder(holders.host, job=context.job.id, writes=False)
    wanted = {VolumeRef.parse(each): holder for each in context.job.arguments["volumes"]}
    if wanted:
        await holders.claim(wanted, names_of(environment))


async def _release(context: EnvContext) -> None:
    """Volumes that nobody else reads here are let go of."""
    pools, mine = context.environment.pools, f"job {context.job.id}"
    for each in context.job.arguments["volumes"]:
        ref = VolumeRef.parse(each)
        if all(holder.who == mine for holder in pools.holders.of(ref)):
            await pools.deactivate(ref)
    await release(context)


async def _write(context: EnvContext) -> None:
    environment, arguments, scratch = context.environment, context.job.arguments, _scratch(context)
    domain, form = _domain(context), ImageFormat(context.job.arguments["file-format"])
    plan, appliances = _plan(domain, form), reader(environment)
    await _discard(context)
    if await appliances.exists(arguments["file"]):
        raise NameInUse(f"there is a file {arguments['file']} already", hint="choose another name")
    await appliances.make_scratch(str(scratch))
    sizes: list[int] = []
    for number, each in enumerate(plan.disks):

        def tell(share: float, number: int = number, file: str = each.file) -> None:
            context.progress(f"writing {file}: {share:.0%}", (number + share) / len(plan.disks) * _WRITTEN)

        source, size = await _source(environment, domain.config.disks[each.place])
        target = Image(str(scratch / each.file), form)
        await image_tool(environment).write(source, target, tell, options=_OPTIONS.get(form))
        sizes.append(size)
    files = [await appliances.measure(str(scratch / each.file)) for each in plan.disks]
    machine = with_sizes(plan.machine, [(size, file.size) for size, file in zip(sizes, files, strict=True)])

    def packed(share: float) -> None:
        context.progress(f"packing: {share:.0%}", _WRITTEN + share * (_PACKED - _WRITTEN))

    await context.note(packing=True)
    try:
        descriptor = (f"{domain.name}.ovf", ovf.write(machine))
        await appliances.pack(arguments["file"], descriptor, files, str(scratch), packed)
    except NameInUse:
        await context.note(packing=False)
        raise
    await appliances.discard(str(scratch))


async def _source(environment: Environment, disk: DiskSpec) -> tuple[Volume | Image, int]:
    """With what a guest sees of it, in bytes."""
    if disk.volume is not None:
        volume = await environment.pools.activate(VolumeRef.parse(disk.volume))
        await check_volume_chain(environment, volume)
        return volume, volume.size
    assert disk.target is not None
    assert disk.format is not DiskFormat.EMPTY
    facts = await image_tool(environment).inspect(disk.target, disk.format)
    return Image(disk.target, ImageFormat(disk.format)), facts.size


async def _discard(context: EnvContext) -> None:
    """What was written, and the file if it is this job's."""
    appliances = reader(context.environment)
    await appliances.discard(str(_scratch(context)))
    if context.job.notes.get("packing"):
        await appliances.discard(context.job.arguments["file"])


async def _finish(context: EnvContext) -> None:
    arguments = context.job.arguments
    plan = _plan(_domain(context), ImageFormat(arguments["file-format"]))
    await _release(context)
    await context.note(result={"file": arguments["file"], "lost": list(plan.lost)})


EXPORT = Operation(
    JobKind.EXPORT,
    (
        Step("reserve", _reserve, _release),
        Step("write", _write, _discard, interruptible=True),
        Step("release", _finish, nothing_to_undo),
    ),
    recovery=Recovery.UNDO,
)
