"""Routes under ``/v1/domains/REF/agent``."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api.domains import guest
from wirt.api.reply import reply
from wirt.operations import agent
from wirt.operations.environment import Environment
from wirt.wire import v1_agent as wire


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1/domains/{ref}/agent", tags=["agent"])

    @routes.get("", response_model=wire.GuestAgent)
    async def show(ref: str) -> Response:
        """What the agent in a running guest tells: whether it answers, system, addresses."""
        return reply(_answer(await agent.ask(environment, guest(ref))))

    @routes.post("/set-time", response_model=wire.GuestTime)
    async def set_time(ref: str) -> Response:
        """Have the agent set the guest's clock to the host's."""
        return reply(wire.GuestTime(await agent.set_time(environment, guest(ref))))

    return routes


def _answer(asked: agent.Asked) -> wire.GuestAgent:
    name, uuid, info = asked.domain.name, str(asked.domain.uuid), asked.info
    if info is None:
        return wire.GuestAgent(name, uuid, answers=False, why=asked.why)
    return wire.GuestAgent(
        name,
        uuid,
        answers=True,
        version=info.version,
        system=info.system,
        kernel=info.kernel,
        commands=sorted(info.commands),
        interfaces=[wire.GuestInterface(each.name, each.mac, list(each.addresses)) for each in info.interfaces],
    )
