"""``POST /v1/domains/{ref}/migrate`` and its like, and ``GET /v1/migrations``."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Response

from wirt.api.domains import guest
from wirt.api.jobs import job_reply
from wirt.api.reply import reply
from wirt.model.storage import parse_size
from wirt.operations.environment import Environment
from wirt.operations.migrate import MovePlan, MoveWish, migrate, plan_move, take_back
from wirt.operations.receipts import receipts
from wirt.plan.turns import side_by_side
from wirt.wire import v1, v1_incoming
from wirt.wire import v1_migrations as wire


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["migration"])

    @routes.post("/domains/{ref}/migrate", response_model=v1.Job)
    async def move(ref: str, request: wire.MigrateRequest, wait: bool = False) -> Response:
        """Move a domain to another host. Its result is the receipt."""
        return await job_reply(
            environment, await migrate(environment, guest(ref), _wish(environment, request)), wait
        )

    @routes.post("/domains/{ref}/migrate/plan", response_model=wire.MovePlan)
    async def plan(ref: str, request: wire.MigrateRequest) -> Response:
        """What speaks against it, where disks would be, and how long it would take. Nothing is done."""
        return reply(_plan(await plan_move(environment, guest(ref), _wish(environment, request))))

    @routes.post("/domains/{ref}/migrate/take-back", response_model=v1.Job)
    async def back(ref: str, wait: bool = False) -> Response:
        """The host that the domain was on its way to is lost for good, and never has it: it goes on here."""
        return await job_reply(environment, await take_back(environment, guest(ref)), wait)

    @routes.get("/migrations", response_model=wire.ReceiptList)
    async def listing() -> Response:
        """What came of moves from this host and to it, oldest first."""
        return reply({"migrations": [asdict(each) for each in await receipts(environment)]})

    return routes


def _wish(environment: Environment, of: wire.MigrateRequest) -> MoveWish:
    together = side_by_side(of.of, of.at_once, environment.settings.migrations_at_once)
    return MoveWish(
        target=of.target,
        with_storage=of.with_storage,
        to_pool=of.to_pool,
        bytes_per_s=None if of.bandwidth is None else max(1, parse_size(of.bandwidth) // together),
        max_downtime_ms=of.max_downtime_ms,
        compress=of.compress,
        postcopy=of.postcopy,
        keep=of.keep,
        offline=of.offline,
        timeout_s=of.timeout_s,
        batch=of.batch,
        at_once=of.at_once,
        flatten=of.flatten,
    )


def _plan(of: MovePlan) -> wire.MovePlan:
    return wire.MovePlan(
        domain=of.offer.name,
        source=of.offer.source,
        target=of.terms.host,
        possible=not any(remark.blocks for remark in of.remarks),
        forecast=wire.MoveForecast(**asdict(of.forecast)),
        remarks=[wire.MoveRemark(each.blocks, each.what, each.remedy) for each in of.remarks],
        disks=[_disk(each) for each in of.terms.placements],
        files=[wire.MovedFile(**asdict(each)) for each in of.terms.files],
    )


def _disk(of: v1_incoming.Placement) -> wire.MovedDisk:
    layers = [wire.MovedLayer(each.volume, each.copied) for each in of.layers]
    return wire.MovedDisk(of.vdev, of.shared, of.volume, layers)
