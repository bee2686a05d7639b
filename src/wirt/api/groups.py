"""Routes under ``/v1/security-groups``."""

from __future__ import annotations

from fastapi import APIRouter, Response

from wirt.api.reply import NO_CONTENT, reply
from wirt.config.security import write_rule
from wirt.operations import security_groups as groups
from wirt.operations.environment import Environment
from wirt.wire import v1_groups as wire


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1/security-groups", tags=["networks"])
    _reading(routes, environment)
    _changing(routes, environment)
    return routes


def _reading(routes: APIRouter, environment: Environment) -> None:
    @routes.get("", response_model=wire.SecurityGroupList)
    async def security_groups() -> Response:
        """All security groups, by name."""
        return reply(wire.SecurityGroupList([_group(environment, group.name) for group in environment.groups]))

    @routes.get("/{name}", response_model=wire.SecurityGroup)
    async def security_group(name: str) -> Response:
        """One security group, and who names it."""
        return reply(_group(environment, name))


def _changing(routes: APIRouter, environment: Environment) -> None:
    @routes.post("", response_model=wire.SecurityGroup)
    async def create(request: wire.SecurityGroupRequest) -> Response:
        """Make a security group."""
        await groups.create(environment, request.name, request.rules, request.description)
        return reply(_group(environment, request.name))

    @routes.post("/{name}", response_model=wire.SecurityGroup)
    async def change(name: str, request: wire.SecurityGroupChange) -> Response:
        """Give it other rules, or another description. Running guests follow at once."""
        await groups.change(environment, name, request.rules, request.description)
        return reply(_group(environment, name))

    @routes.post("/{name}/allow", response_model=wire.SecurityGroup)
    async def allow(name: str, request: wire.AllowRequest) -> Response:
        """Add rules."""
        await groups.allow(environment, name, request.rules)
        return reply(_group(environment, name))

    @routes.post("/{name}/revoke", response_model=wire.SecurityGroup)
    async def revoke(name: str, request: wire.RevokeRequest) -> Response:
        """Take a rule away, by itself or by its number."""
        await groups.revoke(environment, name, request.rule)
        return reply(_group(environment, name))

    @routes.delete("/{name}", status_code=NO_CONTENT)
    async def destroy(name: str) -> None:
        """Destroy a security group that nobody names."""
        await groups.destroy(environment, name)


def _group(environment: Environment, name: str) -> wire.SecurityGroup:
    use = groups.look(environment, name)
    return wire.SecurityGroup(
        name=use.group.name,
        rules=[write_rule(rule) for rule in use.group.rules],
        description=use.group.description,
        domains=[domain.name for domain in use.domains],
        groups=list(use.groups),
    )
