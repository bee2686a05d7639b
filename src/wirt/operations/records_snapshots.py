"""How the store keeps snapshots: all of one domain in one record, so that they change in one transaction."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from wirt.model.cpu import GivenCpu
from wirt.model.snapshots import KeptDisk, Snapshot, SnapshotTree
from wirt.operations.records import PREFIX, read_record, write_record
from wirt.ports.store import Entry

SNAPSHOTS = f"{PREFIX}/snapshots/"


def snapshots_key(domain: UUID) -> str:
    return f"{SNAPSHOTS}{domain}"


def write_snapshots(tree: SnapshotTree) -> bytes:
    return write_record(
        {
            "domain": str(tree.domain),
            "snapshots": [{**asdict(each), "cpu": _cpu(each)} for each in tree.snapshots],
            "head": tree.head,
            "left": [asdict(each) for each in tree.left],
        }
    )


def read_snapshots(entry: Entry) -> SnapshotTree:
    def build(data: dict[str, Any]) -> SnapshotTree:
        return SnapshotTree(
            domain=UUID(data["domain"]),
            snapshots=tuple(_snapshot(each) for each in data["snapshots"]),
            head=data["head"],
            left=tuple(KeptDisk(**each) for each in data["left"]),
            revision=entry.modified,
        )

    return read_record(entry, build)


def _snapshot(data: dict[str, Any]) -> Snapshot:
    said = data.get("cpu")
    cpu = None if said is None else GivenCpu(said["model"], frozenset(said["features"]), said["identity"])
    return Snapshot(**{**data, "disks": tuple(KeptDisk(**disk) for disk in data["disks"]), "cpu": cpu})


def _cpu(of: Snapshot) -> dict[str, Any] | None:
    return None if of.cpu is None else {**asdict(of.cpu), "features": sorted(of.cpu.features)}
