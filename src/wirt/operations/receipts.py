"""Receipts of moves: kept on both hosts, the newest hundred."""

from __future__ import annotations

from wirt.model.migration import Receipt
from wirt.operations.environment import Environment
from wirt.operations.records_migration import RECEIPTS, read_receipt, receipt_key, write_receipt
from wirt.ports.store import Delete, Put

KEPT = 100


async def keep(environment: Environment, receipt: Receipt) -> None:
    """Keeping it again is no error."""
    await environment.store.commit(Put(receipt_key(receipt), write_receipt(receipt)))
    entries = (await environment.store.list(RECEIPTS)).entries
    for entry in entries[:-KEPT]:
        await environment.store.commit(Delete(entry.key))


async def receipts(environment: Environment) -> list[Receipt]:
    """Oldest first."""
    return [read_receipt(entry) for entry in (await environment.store.list(RECEIPTS)).entries]
