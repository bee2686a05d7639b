"""A guest's file systems, written out and held by its own agent for the instant at which its disks are kept.

Without an agent that does so the disks are kept as after a power failure, which they survive.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from wirt.model.domain import Domain
from wirt.model.errors import WirtError
from wirt.operations.environment import Environment

log = structlog.get_logger()


@dataclass(slots=True)
class Hold:
    """``held``: at least one file system is, and at the end: was the whole time."""

    held: bool = False


@asynccontextmanager
async def quiet(environment: Environment, domain: Domain, *, wanted: bool) -> AsyncIterator[Hold]:
    """Let go at the end whatever happens; an agent that can't be told any more does so by itself."""
    hold = Hold(wanted and await _freeze(environment, domain))
    try:
        yield hold
    finally:
        if hold.held:
            hold.held = await thaw(environment, domain)


async def _freeze(environment: Environment, domain: Domain) -> bool:
    try:
        return bool(await environment.hypervisor.agents.freeze(domain.uuid))
    except WirtError as error:
        log.warning("a guest's agent could not hold its file systems", domain=domain.name, error=str(error))
        return False


async def thaw(environment: Environment, domain: Domain) -> bool:
    """Whether they had been held until now. What took longer than they may be held was not quiet at its end."""
    try:
        return await environment.hypervisor.agents.thaw(domain.uuid) > 0
    except WirtError as error:
        log.warning("a guest's agent did not let go of its file systems", domain=domain.name, error=str(error))
        return False
