"""``GET /v1/stats``: what domains use."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from wirt.api import convert_stats
from wirt.api.domains import DOMAIN_ZERO
from wirt.api.reply import reply
from wirt.operations.accounting import EVERY_S, KEPT
from wirt.operations.environment import Environment
from wirt.wire import v1_stats as wire

OverSeconds = Annotated[float, Query(ge=0, le=KEPT * EVERY_S)]
Samples = Annotated[int, Query(ge=0, le=KEPT)]


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["domains"])

    @routes.get("/stats", response_model=wire.StatsList)
    async def stats(domain: str | None = None, over_s: OverSeconds = 1.0, history: Samples = 0) -> Response:
        """All domains that run, or the one that is named. Rates are over the last ``over_s``; ``history``: so many
        of the last samples too."""
        with_zero = domain is None or domain in DOMAIN_ZERO
        chosen = [each for each in environment.domains if each.incarnation is not None]
        if domain is not None and not with_zero:
            chosen = [environment.domains.find(domain)]
        found = convert_stats.all_of(environment, chosen, with_zero, over_s, history)
        if domain in DOMAIN_ZERO:
            found = wire.StatsList(found.domains[:1], found.host, found.time, found.every_s)
        return reply(found)

    return routes
