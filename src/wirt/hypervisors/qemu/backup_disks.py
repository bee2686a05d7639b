"""The disks of a run as QEMU tells of them, with the dirty bitmaps that are ours, and what stands before them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from wirt.hypervisors.qemu.answers import FILTER
from wirt.hypervisors.qemu.monitor import Monitor

PREFIX = "wirt."
"""Of our bitmaps: ``wirt.STORE.BACKUP``. Those of others are left alone."""
OPAQUE = "backup-scratch"
"""What the descriptor of a scratch file is called, with the disk and the node that it is of."""


class Bitmap(Enum):
    """``LOST``: QEMU ended before it could keep it, and calls it inconsistent."""

    RECORDING = 1
    FROZEN = 2
    LOST = 3


@dataclass(frozen=True, slots=True)
class Disk:
    """``bitmaps`` that are ours, by name."""

    vdev: str
    node: str
    size: int
    format: str
    bitmaps: Mapping[str, Bitmap]

    def has(self, name: str | None) -> bool:
        """Whether all that was written since ``name`` is known."""
        return name is not None and self.bitmaps.get(name) is Bitmap.RECORDING

    @property
    def device(self) -> str:
        return f"/machine/peripheral/disk-{self.vdev}-device"


async def disks_of(monitor: Monitor) -> list[Disk]:
    """Those that the guest can write, whether a filter stands before them now or not."""
    nodes = await nodes_of(monitor)
    behind = await _behind_filters(monitor, nodes)
    found = []
    for each in await monitor.execute("query-block"):
        vdev = _vdev(each.get("qdev"))
        top = _part(each, "inserted").get("node-name")
        if vdev is None or not isinstance(top, str):
            continue
        node = behind.get(vdev, top) if top.startswith(FILTER) else top
        facts = nodes.get(node, {})
        size = _part(facts, "image").get("virtual-size")
        if facts.get("ro", True) or not isinstance(size, int):
            continue
        found.append(Disk(vdev, node, size, str(facts.get("drv")), _ours(facts.get("dirty-bitmaps"))))
    return sorted(found, key=lambda disk: disk.vdev)


async def _behind_filters(monitor: Monitor, nodes: Iterable[str]) -> dict[str, str]:
    """The node that stands behind our filter now, by disk: what QEMU's graph says; where it says nothing, what was
    written down with the scratch file."""
    found: dict[str, str] = {}
    if not named(nodes, FILTER):
        return found
    for each in await monitor.execute("query-fdsets"):
        files = each.get("fds")
        for file in files if isinstance(files, list) else ():
            words = str(file.get("opaque") if isinstance(file, dict) else "").split(" ")
            if words[0] == OPAQUE and len(words) == 3:
                found[words[1]] = words[2]
    return found | _children(await monitor.execute("x-debug-query-block-graph"))


def _children(graph: object) -> dict[str, str]:
    """Disks may have been moved meanwhile: then another node is behind the filter."""
    facts = graph if isinstance(graph, dict) else {}
    nodes, edges = (
        [each for each in facts.get(name) or () if isinstance(each, dict)] for name in ("nodes", "edges")
    )
    names = {each.get("id"): str(each.get("name")) for each in nodes}
    return {
        names[edge.get("parent")].removeprefix(FILTER): names[edge.get("child")]
        for edge in edges
        if edge.get("name") == "file"
        and names.get(edge.get("parent"), "").startswith(FILTER)
        and edge.get("child") in names
    }


def _vdev(qdev: object) -> str | None:
    """QEMU tells the device's own name or its path in the tree of objects."""
    name = str(qdev).removeprefix("/machine/peripheral/").partition("/")[0]
    if not name.startswith("disk-") or not name.endswith("-device"):
        return None
    return name.removeprefix("disk-").removesuffix("-device")


def _ours(bitmaps: object) -> dict[str, Bitmap]:
    found: dict[str, Bitmap] = {}
    for each in bitmaps if isinstance(bitmaps, list) else ():
        name = each.get("name") if isinstance(each, dict) else None
        if isinstance(name, str) and name.startswith(PREFIX):
            state = Bitmap.RECORDING if each.get("recording") is True else Bitmap.FROZEN
            found[name] = Bitmap.LOST if each.get("inconsistent") is True else state
    return found


async def nodes_of(monitor: Monitor) -> dict[str, Mapping[str, Any]]:
    answer = await monitor.execute("query-named-block-nodes", {"flat": True})
    return {str(each.get("node-name")): each for each in answer}


def named(nodes: Iterable[str], prefix: str) -> list[str]:
    return sorted(name for name in nodes if name.startswith(prefix))


def _part(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = facts.get(name)
    return part if isinstance(part, dict) else {}


def merged_back(disk: Disk) -> list[dict[str, object]]:
    """What the newer bitmap has seen goes back into the one that was frozen for it, of the same store."""
    actions = [bitmap_action("remove", disk, name) for name, state in disk.bitmaps.items() if state is Bitmap.LOST]
    for name in (name for name, state in disk.bitmaps.items() if state is Bitmap.FROZEN):
        newer = [other for other in disk.bitmaps if disk.has(other) and place_of(other) == place_of(name)]
        if not newer:
            actions.append(bitmap_action("remove", disk, name))
            continue
        merge = {"node": disk.node, "target": name, "bitmaps": newer}
        actions += [bitmap_action("enable", disk, name), {"type": "block-dirty-bitmap-merge", "data": merge}]
        actions += [bitmap_action("remove", disk, other) for other in newer]
    return actions


def place_of(bitmap: str) -> str:
    return bitmap.removeprefix(PREFIX).partition(".")[0]


def bitmap_action(verb: str, disk: Disk, name: str, **more: object) -> dict[str, object]:
    return {"type": f"block-dirty-bitmap-{verb}", "data": {"node": disk.node, "name": name, **more}}
