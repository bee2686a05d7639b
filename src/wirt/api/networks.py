"""Routes under ``/v1/networks``, and ``/v1/network-plan``."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Annotated

from fastapi import APIRouter, Query, Response

from wirt.api.jobs import job_reply
from wirt.api.reply import reply
from wirt.config.xlcfg.rate import rate_text
from wirt.model.devices import Rate
from wirt.model.network import DEFAULT_NETWORK, NetworkConfig
from wirt.operations import network as networking
from wirt.operations.environment import Environment
from wirt.operations.networks_upkeep import Member, all_networks, fabric_of, members
from wirt.plan.networks import FabricPlan, devices_of, home_tag
from wirt.plan.networks_state import FabricState, LinkState
from wirt.plan.networks_wishes import Wish
from wirt.wire import v1
from wirt.wire import v1_networks as wire


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["networks"])
    _reading(routes, environment)
    _making(routes, environment)
    return routes


def _reading(routes: APIRouter, environment: Environment) -> None:
    @routes.get("/networks", response_model=wire.NetworkList)
    async def list_networks() -> Response:
        """Its bridge need not be there: ``default`` always comes first."""
        leaving = [network.config for network in environment.networks if network.leaving]
        return reply(
            wire.NetworkList([_network(environment, each) for each in (*all_networks(environment), *leaving)])
        )

    @routes.get("/networks/{name}", response_model=wire.NetworkDetail)
    async def show(name: str) -> Response:
        """With its devices, cards and leases."""
        config = networking.network_called(environment, name)
        return reply(await _detail(environment, config))

    @routes.get("/network-plan", response_model=wire.NetworkPlan)
    async def plan(network: Annotated[str | None, Query()] = None) -> Response:
        """What would be done to make the host as recorded: of one network, or of all. Nothing is."""
        return reply(_plan(await networking.plan(environment, network)))


def _making(routes: APIRouter, environment: Environment) -> None:
    @routes.post("/networks", response_model=v1.Job)
    async def create(request: wire.NetworkRequest, wait: bool = False) -> Response:
        """Make a network."""
        return await job_reply(environment, await networking.create(environment, _wish(request)), wait)

    @routes.post("/network-plan", response_model=wire.NetworkPlan)
    async def preview(request: wire.NetworkRequest) -> Response:
        """What creating would do. Nothing is done."""
        found = await networking.preview(environment, _wish(request))
        return reply(_plan(found.plan, _network(environment, found.config)))

    @routes.post("/networks/{name}/destroy", response_model=v1.Job)
    async def destroy(name: str, wait: bool = False) -> Response:
        """Remove a network that no running domain uses."""
        return await job_reply(environment, await networking.destroy(environment, name), wait)


def _wish(request: wire.NetworkRequest) -> Wish:
    values = {each.name: getattr(request, each.name) for each in fields(request)}
    return Wish(**{**values, "peers": tuple(request.peers)})


def _network(environment: Environment, config: NetworkConfig) -> wire.Network:
    running = sum(member.tap is not None for member in members(environment, config))
    upkeep = environment.networks.upkeep
    problems = [
        wire.NetworkProblem(each.network, each.message, each.hint)
        for each in upkeep.problems
        if each.network in ("", config.name)
    ]
    vxlan = config.vxlan
    return wire.Network(
        name=config.name,
        mode=str(config.mode),
        bridge=config.bridge,
        state=_state(environment, config, running, amiss=bool(problems)),
        vifs=running,
        address=_text(config.address),
        address6=_text(config.address6),
        dhcp=_text(config.dhcp),
        advertise=config.advertise,
        dns=config.dns,
        domain=config.domain,
        uplink=config.uplink,
        vlan=config.vlan,
        vni=vxlan.vni if vxlan else None,
        local=vxlan.local if vxlan else None,
        peers=list(vxlan.peers) if vxlan else [],
        port=vxlan.port if vxlan else None,
        mtu=config.mtu,
        vlan_filtering=config.vlan_filtering,
        share=None if config.share is None else rate_text(Rate(config.share)),
        own_bridge=not config.foreign,
        problems=problems,
    )


def _state(environment: Environment, config: NetworkConfig, running: int, *, amiss: bool) -> str:
    recorded = environment.networks.get(config.name)
    if recorded is not None and recorded.leaving:
        return "leaving"
    if config.name == DEFAULT_NETWORK and not running:
        return "unused"
    return "amiss" if amiss else "up"


async def _detail(environment: Environment, config: NetworkConfig) -> wire.NetworkDetail:
    names = devices_of(config, home_tag(environment.settings.home))
    fabric = fabric_of(environment)
    state = await fabric.observe(frozenset(names))
    server = state.servers.get(config.name)
    mended = [each for each in environment.networks.upkeep.mended if each.network in ("", config.name)]
    leases = await fabric.leases(config.name)
    return wire.NetworkDetail(
        network=_network(environment, config),
        devices=[_device(name, state) for name in names],
        vifs=[_card(member) for member in members(environment, config)],
        leases=[wire.Lease(each.mac, each.address, each.name, each.until) for each in leases],
        server=server.pid if server is not None else None,
        mended=[wire.NetworkMended(each.at, each.network, each.sentence) for each in mended],
    )


def _device(name: str, state: FabricState) -> wire.NetworkDevice:
    link: LinkState | None = state.links.get(name)
    if link is None:
        return wire.NetworkDevice(name, None, "missing", None)
    addresses = sorted(str(each) for each in link.addresses if not each.ip.is_link_local)
    return wire.NetworkDevice(name, link.kind, "up" if link.up else "down", link.mtu, addresses)


def _card(member: Member) -> wire.NetworkCard:
    domain = member.domain
    addresses = list(member.vif.ip)
    return wire.NetworkCard(domain.name, domain.domid, member.index, member.mac, member.tap, addresses)


def _plan(found: FabricPlan, config: wire.Network | None = None) -> wire.NetworkPlan:
    actions = [wire.NetworkAction(each.network, _kind(each), str(each)) for each in found.actions]
    problems = [wire.NetworkProblem(each.network, each.message, each.hint) for each in found.problems]
    return wire.NetworkPlan(actions, problems, config)


def _kind(action: object) -> str:
    """``AddBridge``: ``add-bridge``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(action).__name__).lower()


def _text(value: object) -> str | None:
    return None if value is None else str(value)
