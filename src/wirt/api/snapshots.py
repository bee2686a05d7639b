"""Routes under ``/v1/domains/{ref}/snapshots``."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api.jobs import job_reply
from wirt.api.reply import reply
from wirt.model.domain import Domain
from wirt.model.snapshots import Snapshot, SnapshotTree
from wirt.operations import snapshots_verbs as verbs
from wirt.operations.environment import Environment
from wirt.wire import v1
from wirt.wire import v1_snapshots as wire


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1/domains/{ref}/snapshots", tags=["storage"])
    _reading(routes, environment)
    _changing(routes, environment)
    return routes


def _reading(routes: APIRouter, environment: Environment) -> None:
    @routes.get("", response_model=wire.SnapshotList)
    async def snapshots(ref: str) -> Response:
        """All snapshots of a domain, oldest first."""
        domain = environment.domains.find(ref)
        return reply(_list(domain, environment.snapshots.of(domain.uuid)))

    @routes.get("/{name}", response_model=wire.Snapshot)
    async def snapshot(ref: str, name: str) -> Response:
        """One snapshot, with the volumes that it keeps."""
        domain = environment.domains.find(ref)
        found = environment.snapshots.find(domain, name)
        return reply(_snapshot(environment.snapshots.of(domain.uuid), found))


def _changing(routes: APIRouter, environment: Environment) -> None:
    @routes.post("", response_model=v1.Job)
    async def create(ref: str, request: wire.SnapshotRequest, wait: bool = False) -> Response:
        """Keep the disks of a domain as they are at this instant, and its memory if asked for."""
        job = await verbs.create(
            environment, ref, request.name, memory=request.memory, description=request.description
        )
        return await job_reply(environment, job, wait)

    @routes.post("/{name}/revert", response_model=v1.Job)
    async def revert(ref: str, name: str, request: wire.SnapshotRevert, wait: bool = False) -> Response:
        """Go back to it. What the disks hold since is gone."""
        return await job_reply(environment, await verbs.revert(environment, ref, name, force=request.force), wait)

    @routes.post("/{name}/delete", response_model=v1.Job)
    async def delete(ref: str, name: str, wait: bool = False) -> Response:
        """Remove it; the disks stay as they are."""
        return await job_reply(environment, await verbs.delete(environment, ref, name), wait)


def _list(domain: Domain, tree: SnapshotTree) -> wire.SnapshotList:
    return wire.SnapshotList(
        domain=domain.name,
        snapshots=[_snapshot(tree, each) for each in tree.snapshots],
        left=[disk.kept for disk in tree.left],
    )


def _snapshot(tree: SnapshotTree, snapshot: Snapshot) -> wire.Snapshot:
    return wire.Snapshot(
        name=snapshot.name,
        created_at=snapshot.created_at,
        parent=snapshot.parent,
        memory=snapshot.memory is not None,
        current=tree.head == snapshot.name,
        description=snapshot.description,
        leaving=snapshot.leaving,
        disks=[wire.SnapshotDisk(disk.vdev, disk.volume, disk.kept) for disk in snapshot.disks],
    )
