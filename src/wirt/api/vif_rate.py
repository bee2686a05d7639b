"""The route ``/v1/domains/{ref}/vifs/{card}/rate``: limits of a card."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api.domains import guest
from wirt.api.jobs import job_reply
from wirt.operations.environment import Environment
from wirt.operations.vif_rate import set_rate
from wirt.wire import v1
from wirt.wire.v1_vifrate import RateRequest


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1/domains/{ref}/vifs", tags=["vifs"])

    @routes.post("/{card}/rate", response_model=v1.Job)
    async def rate(ref: str, card: str, request: RateRequest, wait: bool = False) -> Response:
        """Kept in the configuration, and in force at once if the domain runs."""
        given = {"rate": request.rate, "rate-in": request.rate_in}
        rates = {name: text for name, text in given.items() if text is not None}
        return await job_reply(environment, await set_rate(environment, guest(ref), card, rates), wait)

    return routes
