"""``wirt bootstrap``: a distribution's packages become a system on a volume, a device or an image.

The system is made in a scratch directory and copied as a whole. So whatever fails before the copy leaves the
target as it was; what fails in it leaves a new target gone and an old one blank.

Arguments that the steps read: ``wish``, ``sources`` and ``identity``, from which the plan follows; ``kind`` of the
target with ``target`` (a volume) or ``path``; ``files``, what is written beside the disk. Notes that they write:
``writing`` once the target is touched, ``made`` for the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, IllegalState, NameInUse, NotFound, Unavailable
from wirt.model.job import Job, Recovery
from wirt.model.storage import Image, ImageFormat, Preallocation, VolumeRef
from wirt.model.units import MIB
from wirt.operations import volumes_steps
from wirt.operations.checks import check_path_free
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step
from wirt.operations.running import EnvContext
from wirt.operations.volumes import check_room
from wirt.operations.volumes_room import told_if_full
from wirt.plan.bootstrap import BootstrapPlan, BootstrapWish, plan_bootstrap
from wirt.plan.bootstrap_files import Disk, xl_config
from wirt.plan.bootstrap_tools import Source
from wirt.ports.bootstrap import Bootstrapper, System
from wirt.ports.storage import NewVolume

_IMAGES = {".qcow2": ImageFormat.QCOW2, ".raw": ImageFormat.RAW, ".img": ImageFormat.RAW}
_BUILT, _WRITTEN = 0.8, 0.98


class Into(StrEnum):
    """Stored words."""

    VOLUME = "volume"
    DEVICE = "device"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Target:
    """``size`` of what is there already, ``None`` for what is to be made. ``arguments`` are a job's."""

    kind: Into
    disk: Disk
    size: int | None
    empty: bool
    arguments: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True, slots=True)
class BootstrapPreview:
    """``files`` are written on the host beside the disk, by what they are: ``config``, ``kernel``, ``initrd``."""

    plan: BootstrapPlan
    target: Target
    files: Mapping[str, str]
    config: str


async def preview(
    environment: Environment, wish: BootstrapWish, into: str, cwd: str, *, force: bool = False
) -> BootstrapPreview:
    """What :func:`bootstrap` would do, and nothing done. Raises what it would."""
    return (await _prepare(environment, wish, into, cwd, environment.new_uuid(), force=force))[0]


async def bootstrap(
    environment: Environment, wish: BootstrapWish, into: str, cwd: str, *, force: bool = False
) -> Job:
    """``force``: also over what is on a device or a volume that exists. What can be known to be wrong is raised
    now, before there is a job."""
    identity = environment.new_uuid()
    found, sources = await _prepare(environment, wish, into, cwd, identity, force=force)
    arguments = {
        **found.target.arguments,
        "wish": asdict(found.plan.wish),
        "sources": [asdict(source) for source in sources],
        "identity": str(identity),
        "files": dict(found.files),
        "config": found.config,
        "lost": not found.target.empty,
    }
    subject = f"bootstrap {found.target.disk.target}"
    return await environment.jobs.submit(JobKind.BOOTSTRAP, subject, arguments)


async def _prepare(
    environment: Environment, wish: BootstrapWish, into: str, cwd: str, identity: UUID, *, force: bool
) -> tuple[BootstrapPreview, tuple[Source, ...]]:
    builder = bootstrapper(environment)
    target = await _target(environment, wish, into, cwd)
    if target.size is not None:
        wish = replace(wish, size=target.size // MIB * MIB)
    sources = await builder.sources()
    plan = plan_bootstrap(wish, sources, identity)
    builder.check(plan)
    if not target.empty and not force:
        raise IllegalState(
            f"there is something on {target.disk.target}", hint="--force writes over it; it is lost then"
        )
    files = _files(plan, target)
    await _check_absent(environment, files)
    config = xl_config(wish, target.disk, plan.kernel_words, files.get("kernel"), files.get("initrd"))
    return BootstrapPreview(plan, target, files, config), sources


def bootstrapper(environment: Environment) -> Bootstrapper:
    if environment.bootstrapper is None:
        raise Unavailable("this host can't install systems")
    return environment.bootstrapper


def _files(plan: BootstrapPlan, target: Target) -> dict[str, str]:
    name, folder = plan.wish.name, target.folder
    files = {"config": str(folder / f"{name}.cfg")}
    if not plan.partitioned:
        files |= {each: str(folder / f"{name}.{each}") for each in ("kernel", "initrd")}
    return files


async def _check_absent(environment: Environment, files: Mapping[str, str]) -> None:
    for path in files.values():
        if await bootstrapper(environment).exists(Path(path)):
            raise NameInUse(f"there is a file {path} already", hint="choose another --name, or remove it")


# What it goes into


async def _target(environment: Environment, wish: BootstrapWish, into: str, cwd: str) -> Target:
    """A volume if the first word is a pool's, else what lies at the path."""
    ref = _reference(environment, into)
    own = Path(environment.settings.home, "boot", wish.name)
    if ref is not None:
        return await _volume(environment, wish, ref, own)
    path = str(PurePosixPath(cwd) / into)
    if environment.machine.is_block_device(path):
        blank = await bootstrapper(environment).look(path)
        await check_path_free(environment, path)
        disk = Disk(path, "raw")
        arguments = {"kind": str(Into.DEVICE), "path": path}
        return Target(Into.DEVICE, disk, blank.size, blank.empty, arguments, own)
    format_ = _IMAGES.get(PurePosixPath(path).suffix)
    if path.startswith("/dev/"):
        raise NotFound(f"there is no block device {path}")
    if format_ is None:
        raise BadInput(
            f"{into} is no volume of a known pool, no block device, and no image",
            hint="as in --into default/web, --into /dev/vg/web, or --into web.qcow2 (.qcow2, .raw)",
        )
    await _check_image(environment, Path(path))
    arguments = {"kind": str(Into.IMAGE), "path": path, "file-format": str(format_)}
    return Target(Into.IMAGE, Disk(path, str(format_)), None, True, arguments, Path(path).parent)


def _reference(environment: Environment, into: str) -> VolumeRef | None:
    pool, slash, _ = into.removeprefix("pool:").partition("/")
    known = bool(slash) and pool in environment.pools.names()
    return VolumeRef.parse(into) if known or into.startswith("pool:") else None


async def _check_image(environment: Environment, path: Path) -> None:
    builder = bootstrapper(environment)
    if await builder.exists(path):
        raise NameInUse(f"there is a file {path} already", hint="choose another name, or remove it")
    if not await builder.exists(path.parent):
        raise NotFound(f"there is no directory {path.parent}", hint=f"mkdir -p {path.parent}")


async def _volume(environment: Environment, wish: BootstrapWish, ref: VolumeRef, own: Path) -> Target:
    environment.pools.check_open_to_all(ref.pool)
    pool = await environment.pools.open(ref.pool)
    disk = Disk(ref.stored, None)
    arguments: dict[str, Any] = {"kind": str(Into.VOLUME), "target": str(ref)}
    try:
        volume = await pool.find(ref.volume)
    except NotFound:
        format_ = volumes_steps.check_can_create(pool, None)
        await check_room(pool, 0)
        arguments |= {"new": True, "size": wish.size, "format": str(format_)}
        return Target(Into.VOLUME, disk, None, True, arguments, own)
    volumes_steps.check_free(environment, ref, writes=True)
    if volume.format is not DiskFormat.RAW:
        raise NameInUse(
            f"there is a {volume.format} volume {ref} already",
            hint=f"only a raw one is written over; wirt volume destroy {ref}, or choose another name",
        )
    await environment.pools.activate(ref)
    try:
        blank = await bootstrapper(environment).look(volume.path)
    finally:
        await environment.pools.deactivate(ref)
    return Target(Into.VOLUME, disk, volume.size, blank.empty, arguments, own)


# The steps


def _plan(context: EnvContext) -> BootstrapPlan:
    arguments = context.job.arguments
    words: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in arguments["wish"].items()
    }
    sources = [Source(each["uri"], each["release"], tuple(each["components"])) for each in arguments["sources"]]
    return plan_bootstrap(BootstrapWish(**words), sources, UUID(arguments["identity"]))


def _is(context: EnvContext, kind: Into) -> bool:
    return Into(context.job.arguments["kind"]) is kind


def _scratch(context: EnvContext) -> Path:
    return Path(context.environment.settings.home, "bootstrap", context.job.id)


async def _reserve(context: EnvContext) -> None:
    if _is(context, Into.VOLUME):
        await volumes_steps.reserve(context)


async def _release(context: EnvContext) -> None:
    if _is(context, Into.VOLUME):
        await volumes_steps.release(context)


async def _make(context: EnvContext) -> None:
    """A volume takes its room now, so that a full pool is told before the long part."""
    arguments = context.job.arguments
    if not arguments.get("new"):
        return
    ref = volumes_steps.target_of(context)
    pool = await context.environment.pools.open(ref.pool)
    format_ = DiskFormat(arguments["format"])
    await pool.create(NewVolume(ref.volume, arguments["size"], format_, Preallocation.OFF))


async def _unmake(context: EnvContext) -> None:
    if context.job.arguments.get("new"):
        await volumes_steps.remove_made(context)


async def _build(context: EnvContext) -> None:
    def tell(what: str, share: float) -> None:
        context.progress(what, share * _BUILT)

    builder, plan = bootstrapper(context.environment), _plan(context)
    context.transient["system"] = await builder.build(plan, _scratch(context), tell)


async def _discard(context: EnvContext) -> None:
    await bootstrapper(context.environment).discard(_scratch(context))


async def _write(context: EnvContext) -> None:
    def tell(share: float) -> None:
        context.progress(f"copying: {share:.0%}", _BUILT + share * (_WRITTEN - _BUILT))

    environment, arguments = context.environment, context.job.arguments
    system: System = context.transient["system"]
    source, tool = Image(str(system.disk), ImageFormat.RAW), volumes_steps.image_tool(environment)
    if _is(context, Into.IMAGE):
        await _check_image(environment, Path(arguments["path"]))
        await context.note(writing=True)
        await tool.write(source, Image(arguments["path"], ImageFormat(arguments["file-format"])), tell)
        return
    if _is(context, Into.DEVICE):
        # It may have been mounted while the system was built.
        await bootstrapper(environment).look(arguments["path"])
        await check_path_free(environment, arguments["path"])
        await context.note(writing=True)
        await tool.convert(source, Image(arguments["path"], ImageFormat.RAW), tell)
        return
    ref = volumes_steps.target_of(context)
    await context.note(writing=True)
    async with told_if_full(environment, ref):
        await tool.convert(source, await environment.pools.activate(ref), tell)
    await environment.pools.deactivate(ref)


async def _unwrite(context: EnvContext) -> None:
    """A new file goes; what was there before is made blank, and that is said."""
    environment, arguments = context.environment, context.job.arguments
    if not context.job.notes.get("writing"):
        return
    if _is(context, Into.IMAGE):
        await bootstrapper(environment).remove(Path(arguments["path"]))
        return
    if _is(context, Into.VOLUME):
        ref = volumes_steps.target_of(context)
        if not arguments.get("new"):
            await bootstrapper(environment).wipe((await environment.pools.activate(ref)).path)
        await environment.pools.deactivate(ref)
    else:
        await bootstrapper(environment).wipe(arguments["path"])
    if arguments["lost"]:
        what = arguments.get("path") or arguments["target"]
        raise IllegalState(f"what was on {what} before is lost: it had been written over, and is blank now")


async def _publish(context: EnvContext) -> None:
    """Configuration last: who sees it finds everything that it names."""
    environment, files = context.environment, context.job.arguments["files"]
    system: System = context.transient["system"]
    contents: dict[str, Path | str] = {
        "kernel": system.kernel,
        "initrd": system.initrd,
        "config": context.job.arguments["config"],
    }
    made: list[str] = []
    for name in (each for each in contents if each in files):
        await _check_absent(environment, {name: files[name]})
        made.append(files[name])
        await context.note(made=list(made))
        await bootstrapper(environment).put(contents[name], Path(files[name]))


async def _unpublish(context: EnvContext) -> None:
    for path in context.job.notes.get("made", ()):
        await bootstrapper(context.environment).remove(Path(path))


async def _finish(context: EnvContext) -> None:
    arguments = context.job.arguments
    await _discard(context)
    await _release(context)
    words = arguments["wish"]
    result = {"name": words["name"], "disk": arguments.get("path") or arguments["target"], **arguments["files"]}
    await context.note(result=result)
    if _is(context, Into.VOLUME):
        volumes_steps.tell(context.environment, volumes_steps.target_of(context), "bootstrap")


async def _nothing(context: EnvContext) -> None:
    """What it lets go of is nobody's any more."""


BOOTSTRAP = Operation(
    JobKind.BOOTSTRAP,
    (
        Step("reserve", _reserve, _release),
        Step("make", _make, _unmake),
        Step("build", _build, _discard, interruptible=True),
        Step("write", _write, _unwrite, interruptible=True),
        Step("publish", _publish, _unpublish),
        Step("finish", _finish, _nothing),
    ),
    recovery=Recovery.UNDO,
)
