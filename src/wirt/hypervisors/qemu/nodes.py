"""The block nodes of a running QEMU: what each disk stands on, and which file is behind each layer.

A file may be renamed while QEMU has it open, and QEMU knows files as ``/dev/fdset/N`` only. So a layer's protocol
node has the file's identity in its name, as it was when it was opened, and the kernel says whether QEMU has that
very file open and what it is called now (proc(5), /proc/PID/fd). A layer's format node is named after its disk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wirt.hypervisors.qemu.answers import block_layers, block_nodes
from wirt.hypervisors.qemu.monitor import Monitor
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.errors import HypervisorError, IllegalState, NotFound
from wirt.plan.observed import file_identity
from wirt.ports.files import about

LOOK_S = 60.0
"""QEMU looks at each file, and of one on a server the kernel first writes out all that is not there yet."""
RECOVER_S = 5.0
"""At a daemon's start all wait for the answer."""
_DEVICE = re.compile(r"(?:/machine/peripheral/)?disk-([a-z0-9]{1,16})-device(?:/virtio-backend)?")
_PROTOCOL = re.compile(r"(?P<kind>[fb])(?P<keep>k?)(?P<shared>s?)(?P<who>[0-9a-f]{1,16}-[0-9a-f]{1,16})-[0-9]+")
_SET = re.compile(r"/dev/fdset/([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Traits:
    """What all layers of a disk have in common. ``discard``: the guest may give room back; ``shared``: other
    guests may write it too."""

    discard: bool = True
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """``name`` of the format node, ``protocol`` of the one under it. ``set``: where QEMU finds the file's
    descriptors. ``identity`` as :func:`file_identity` says it."""

    name: str
    protocol: str
    set: int
    identity: str
    size: int
    writable: bool
    traits: Traits


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file as a process has it open: its descriptor there, and its name now."""

    descriptor: int
    path: str


Chains = Mapping[str, tuple[Layer, ...]]


def disk_id(vdev: str) -> str:
    return f"disk-{vdev}"


def vdev_of(device: str) -> str | None:
    """Of a device as QEMU calls it (``qdev``); ``None`` if it is no disk of ours."""
    match = _DEVICE.fullmatch(device)
    return None if match is None else match[1]


def layer_name(disk: str, number: int) -> str:
    """The topmost at launch is called as its disk: the device is attached to that."""
    return disk if number == 0 else f"{disk}.{number}"


def number_of(disk: str, name: str) -> int | None:
    """``None`` if ``name`` is no layer of ``disk``."""
    if name == disk:
        return 0
    start, _, number = name.rpartition(".")
    return int(number) if start == disk and number.isdecimal() and len(number) < 10 else None


def protocol_name(descriptor: int, set_: int, traits: Traits) -> str:
    """At most 31 characters, as QEMU demands. Raises ``OSError``."""
    identity = _identity(f"/proc/self/fd/{descriptor}")
    marks = f"{'' if traits.discard else 'k'}{'s' if traits.shared else ''}"
    return f"{identity[0]}{marks}{identity[1:]}-{set_}"


async def chains(name: str, monitor: Monitor, *, deadline_s: float = LOOK_S) -> Chains:
    """Of all disks, by vdev, the topmost layer first. ``HypervisorError`` if what QEMU tells can't be."""
    trees = await monitor.execute("query-blockstats", deadline_s=deadline_s)
    nodes = await monitor.execute("query-named-block-nodes", {"flat": True}, deadline_s=deadline_s)
    try:
        known = block_nodes(nodes)
        disks = {vdev: tree for tree in trees if (vdev := vdev_of(str(tree.get("qdev")))) is not None}
        found = {vdev: tuple(_layer(pair, known) for pair in block_layers(tree)) for vdev, tree in disks.items()}
    except Malformed as error:
        raise HypervisorError(f"{name}: QEMU tells of a disk with {error}") from error
    return {vdev: layers for vdev, layers in found.items() if layers}


def _layer(pair: tuple[str, str], known: Mapping[str, Mapping[str, Any]]) -> Layer:
    name, protocol = pair
    node, file = known.get(name), known.get(protocol)
    if node is None or file is None:
        raise Malformed("a layer that is no node")
    place, match = _SET.fullmatch(file["file"]), _PROTOCOL.fullmatch(protocol)
    if place is None or match is None:
        raise Malformed("a layer that it was not given")
    return Layer(
        name=name,
        protocol=protocol,
        set=int(place[1]),
        identity=f"{match['kind']}{match['who']}",
        size=node["size"],
        writable=not node["ro"],
        traits=Traits(discard=not match["keep"], shared=bool(match["shared"])),
    )


async def chain(name: str, monitor: Monitor, vdev: str) -> tuple[Layer, ...]:
    found = (await chains(name, monitor)).get(vdev)
    if found is None:
        raise NotFound(f"{name} has no disk {vdev}")
    return found


async def layers_of(monitor: Monitor, disk: str) -> list[str]:
    """All format nodes of ``disk``, in a chain or not."""
    nodes = await monitor.execute("query-named-block-nodes", {"flat": True}, deadline_s=LOOK_S)
    names = (node.get("node-name") for node in nodes)
    return [name for name in names if isinstance(name, str) and number_of(disk, name) is not None]


def opened(pid: int) -> dict[str, OpenedFile]:
    """Files and devices that ``pid`` has open, by their identity. ``IllegalState`` if it is gone."""
    found: dict[str, OpenedFile] = {}
    try:
        for place in Path(f"/proc/{pid}/fd").iterdir():
            found.update(_opened(place))
    except (FileNotFoundError, ProcessLookupError) as error:
        raise IllegalState("it does not run any more") from error
    return found


def _opened(place: Path) -> Iterator[tuple[str, OpenedFile]]:
    try:
        yield _identity(place), OpenedFile(int(place.name), str(place.readlink()))
    except (FileNotFoundError, ProcessLookupError):
        return


def direct_flag(pid: int, descriptor: int) -> int:
    """``O_DIRECT`` if ``pid`` has the file open so (proc(5), /proc/PID/fdinfo), else 0."""
    try:
        told = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text()
    except OSError:
        return 0
    flags = next((line.split()[1] for line in told.splitlines() if line.startswith("flags:")), "0")
    return int(flags, 8) & os.O_DIRECT


def identity_of(path: str) -> str | None:
    """``None`` if nothing is there."""
    try:
        return _identity(path)
    except OSError:
        return None


def _identity(path: str | Path) -> str:
    """Of an open file (``/proc/PID/fd/N``) it is known without asking the server that it may lie on."""
    found = about(path)
    return file_identity(found.mode, found.device, found.inode, found.special)
