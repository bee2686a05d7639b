"""How the store keeps hand-overs and receipts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from wirt.model.migration import Forecast, Outcome, Receipt
from wirt.operations.records import PREFIX, read_record, write_record
from wirt.ports.store import Entry

HANDOVERS = f"{PREFIX}/handovers/"
RECEIPTS = f"{PREFIX}/migrations/"


def handover_key(handover: str) -> str:
    return f"{HANDOVERS}{handover}"


def receipt_key(receipt: Receipt) -> str:
    """They sort by their time."""
    return f"{RECEIPTS}{int(receipt.began_at * 1000):015d}-{receipt.handover}"


def write_handover(outcome: Outcome, decided_at: float) -> bytes:
    return write_record({"outcome": str(outcome), "decided_at": decided_at})


def read_handover(entry: Entry) -> tuple[Outcome, float]:
    def build(data: dict[str, Any]) -> tuple[Outcome, float]:
        return Outcome(data["outcome"]), float(data["decided_at"])

    return read_record(entry, build)


def write_receipt(receipt: Receipt) -> bytes:
    return write_record(asdict(receipt))


def read_receipt(entry: Entry) -> Receipt:
    def build(data: dict[str, Any]) -> Receipt:
        forecast = data.get("forecast")
        return Receipt(**{**data, "forecast": Forecast(**forecast) if forecast else None})

    return read_record(entry, build)
