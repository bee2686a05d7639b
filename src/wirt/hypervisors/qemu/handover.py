"""Files that QEMU gets as open descriptors instead of names (qemu-system-x86_64(1), ``-add-fd``).

QEMU finds such a file as ``/dev/fdset/N`` and takes from the set the descriptor whose access mode is the one it
wants. Its image locks work as ever, since the open file is QEMU's alone once ours is closed (fcntl(2), open file
description locks): so each use of a file is opened for itself, and nobody else keeps it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager

from wirt.hypervisors.qemu import engines
from wirt.hypervisors.qemu.cmdline import quoted
from wirt.hypervisors.qemu.nodes import Traits, layer_name, protocol_name
from wirt.model.devices import DiskFormat
from wirt.model.errors import LaunchFailed
from wirt.plan.engine import DiskEngine
from wirt.plan.jail import Access, Handed, JailPlan
from wirt.plan.launch import DiskPlan, LaunchPlan
from wirt.ports import files

_SET = re.compile(r"/dev/fdset/\d+")
_BLOCK_NODE = re.compile(r"-blockdev \{[^;]*\}: ")

_FLAGS = {
    Access.READ: os.O_RDONLY,
    Access.WRITE: os.O_RDWR,
    Access.APPEND: os.O_WRONLY | os.O_APPEND | os.O_CREAT,
}


@asynccontextmanager
async def opened(handed: Sequence[Handed]) -> AsyncIterator[dict[int, int]]:
    """The descriptors, by set; closed at the end. ``LaunchFailed`` names the file that can't be opened."""
    async with contextlib.AsyncExitStack() as stack:
        descriptors = {}
        for file in handed:
            descriptors[file.set] = await _open(file, stack)
        yield descriptors


async def _open(file: Handed, stack: contextlib.AsyncExitStack) -> int:
    """Without waiting: a FIFO in the place of an image must not hold the launch up."""
    flags = _FLAGS[file.access] | (os.O_DIRECT if file.direct else 0) | os.O_NONBLOCK
    try:
        descriptor = await stack.enter_async_context(files.opened(file.path, flags))
    except OSError as error:
        raise LaunchFailed(f"{file.path} can't be opened: {error.strerror}") from error
    mode = files.about(f"/proc/self/fd/{descriptor}").mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode) or stat.S_ISCHR(mode)):
        raise LaunchFailed(f"{file.path} is neither a file nor a device")
    os.set_blocking(descriptor, True)
    return descriptor


def words(handed: Sequence[Handed], descriptors: Mapping[int, int]) -> Iterator[str]:
    """Options that tell QEMU of them. ``opaque`` has no meaning to QEMU; the path in it is for people who look at
    the process, and for :func:`wirt.hypervisors.qemu.process.find`."""
    for file in handed:
        yield "-add-fd"
        yield f"fd={descriptors[file.set]},set={file.set},opaque={file.what}={quoted(file.path)}"


def names(jail: JailPlan) -> tuple[tuple[str, str], ...]:
    """What QEMU calls the files that are not disks."""
    return tuple((file.what, file.name) for file in jail.handed if file.layer is None)


def nodes(
    plan: LaunchPlan, jail: JailPlan, descriptors: Mapping[int, int]
) -> tuple[tuple[str, Mapping[str, object]], ...]:
    """The block nodes (``-blockdev``) of all disks of ``plan``, by the disk's id."""
    return tuple((disk.id, node(disk, jail, descriptors)) for disk in plan.disks if disk.path is not None)


def node(disk: DiskPlan, jail: JailPlan, descriptors: Mapping[int, int]) -> dict[str, object]:
    """The block node of ``disk`` on ``descriptors`` (by set), with all that lies under it named: QEMU itself
    follows no name that stands in an image."""
    chain, traits = list(_chain(disk, jail)), Traits(disk.engine.discard, disk.shared)
    result: dict[str, object] = {}
    for depth, file in reversed(list(enumerate(chain))):
        assert file.layer is not None, f"{file.what} is no disk"
        made = layer(
            layer_name(disk.id, depth),
            file.set,
            descriptors[file.set],
            file.layer.format,
            traits,
            writable=disk.writable and depth == 0,
            engine=disk.engine if depth == 0 else None,
        )
        result = {**made, **({"backing": result} if result else {})}
    return result


def _chain(disk: DiskPlan, jail: JailPlan) -> Iterator[Handed]:
    for depth in itertools.count():
        file = jail.handed_for(f"{disk.id}/{depth}")
        if file is None:
            return
        yield file


def layer(
    name: str,
    set_: int,
    descriptor: int,
    format_: DiskFormat,
    traits: Traits,
    *,
    writable: bool,
    engine: DiskEngine | None = None,
    size: int | None = None,
) -> dict[str, object]:
    """The node of one file, of which ``descriptor`` is one that is in ``set_``; what it stands on is not in it.
    Without an ``engine`` it has threads and the host's memory: so has all that a disk only stands on. ``size``:
    no more than its first bytes, of a raw one."""
    driver = "host_device" if stat.S_ISBLK(files.about(f"/proc/self/fd/{descriptor}").mode) else "file"
    protocol: dict[str, object] = {"driver": driver, "filename": f"/dev/fdset/{set_}"}
    protocol["node-name"] = protocol_name(descriptor, set_, traits)
    if traits.shared:
        protocol["locking"] = "off"
    own: dict[str, object] = {"discard": "unmap" if traits.discard else "ignore", "cache": engines.BUFFERED}
    if engine is not None:
        own, protocol = engines.node_options(engine), protocol | engines.file_options(engine)
    bound = {} if size is None else {"size": size}
    return {"driver": str(format_), "node-name": name, "read-only": not writable, **bound, **own, "file": protocol}


def readable(words: str, jail: JailPlan) -> str:
    """QEMU's words about files that it knows by number only, with the files' own names and without our syntax."""
    paths = {file.name: file.path for file in jail.handed}
    words = _BLOCK_NODE.sub("", words)
    return _SET.sub(lambda match: paths.get(match[0], match[0]), words)
