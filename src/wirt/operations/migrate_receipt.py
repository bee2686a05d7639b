"""What came of a move, written up for both hosts."""

from __future__ import annotations

import contextlib
from dataclasses import asdict

from wirt.model.domain import Domain
from wirt.model.errors import WirtError
from wirt.model.migration import Forecast, Receipt
from wirt.operations.environment import Environment
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


async def frames_so_far(environment: Environment, domain: Domain | None) -> int | None:
    """How many frames have been given to the guest's cards on this host; ``None`` if none counts them."""
    counted = [await environment.network.statistics(tap) for tap in _taps(domain)]
    known = [each.rx_packets for each in counted if each is not None]
    return sum(known) if known else None


def has_taps(domain: Domain | None) -> bool:
    """Whether anybody sends frames to it through this host's switches."""
    return bool(_taps(domain))


def _taps(domain: Domain | None) -> list[str]:
    notes = {} if domain is None or domain.incarnation is None else domain.incarnation.notes
    return [value for key, value in notes.items() if key.startswith("tap.")]


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
        total_s=job.notes.get("moved_at", environment.clock.now()) - began_at,
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
        disk_s=job.notes.get("disk_s"),
        lost_frames=job.notes.get("lost_frames"),
        clock_step_s=job.notes.get("clock_step_s"),
    )
