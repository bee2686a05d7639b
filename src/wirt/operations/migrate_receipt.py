"""What came of a move, written up for both hosts."""

from __future__ import annotations

import contextlib
from dataclasses import asdict

from wirt.model.errors import WirtError
from wirt.model.migration import Forecast, Receipt
from wirt.operations.receipts import keep
from wirt.operations.running import EnvContext


async def write_up(context: EnvContext) -> None:
    environment = context.environment
    receipt = receipt_of(context)
    await keep(environment, receipt)
    link = context.transient.get("link")
    if link is not None:
        with contextlib.suppress(WirtError):  # it has all that matters
            await link.peer.call("POST", f"/v1/incoming/{receipt.handover}/receipt", asdict(receipt))
    await context.note(result=asdict(receipt))


def receipt_of(context: EnvContext) -> Receipt:
    environment, job = context.environment, context.job
    travelled = context.transient.get("travelled")
    forecast = job.arguments.get("forecast")
    began_at = job.notes.get("began_at", job.created_at)
    return Receipt(
        handover=job.arguments["handover"],
        uuid=job.arguments["uuid"],
        domain=job.subject,
        source=environment.machine.name,
        target=job.arguments["host"],
        began_at=began_at,
        total_s=environment.clock.now() - began_at,
        outcome=job.notes.get("health") or str(job.notes.get("outcome")),
        sent_bytes=travelled.sent_bytes if travelled is not None else 0,
        disk_bytes=job.notes.get("disk_bytes", 0),
        rounds=travelled.rounds if travelled is not None else 0,
        throttle_percent=context.transient.get("throttle_percent", 0),
        blackout_s=job.notes.get("blackout_s"),
        downtime_s=None if travelled is None or travelled.downtime_ms is None else travelled.downtime_ms / 1000,
        forecast=Forecast(**forecast) if forecast else None,
        way="postcopy" if context.transient.get("postcopy") else (forecast or {}).get("way", "precopy"),
        link_bytes_per_s=travelled.bytes_per_s if travelled is not None else 0,
    )
