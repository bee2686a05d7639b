"""The registry of domains, written by two at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import PurePosixPath
from uuid import UUID

from wirt.config.xlcfg import load
from wirt.model.domain import Domain
from wirt.operations import records
from wirt.operations.registry import Domains
from wirt.ports.store import Compare, Delete, Put
from wirt.ports.virtual_clock import VirtualClock
from wirt.store.memory import MemoryStore

from .kit import config

UUID_ = UUID(int=7)


class SlowStore(MemoryStore):
    """Has committed some time before it says so."""

    async def commit(self, *writes: Put | Delete, when: tuple[Compare, ...] = ()) -> int:
        revision = await super().commit(*writes, when=when)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return revision


async def test_a_domain_that_is_renamed_and_forgotten_at_once_leaves_no_name() -> None:
    store = SlowStore(VirtualClock())
    domains = Domains(store, "here")
    loaded = load(config("web"), file="web.cfg", cwd=PurePosixPath("/"))
    domain = await domains.add(Domain(UUID_, loaded.config, loaded.text, persistent=True))
    renamed = replace(domain.config, name="web2")
    await asyncio.gather(
        domains.change(UUID_, config=renamed, text=config("web2")), domains.remove(UUID_), return_exceptions=True
    )
    assert (await store.list(records.NAMES)).entries == ()
    assert len(domains) == 0
    assert domains.named("web") is None
    assert domains.named("web2") is None
