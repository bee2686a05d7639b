"""Making the host's networks as they are recorded, and knowing who is in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wirt.model.devices import VifKind, VifSpec, devids
from wirt.model.domain import Domain
from wirt.model.errors import Unavailable
from wirt.model.lifecycle import State
from wirt.model.network import DEFAULT_NETWORK, FORWARDED, NetworkConfig
from wirt.operations.environment import Environment
from wirt.plan.networks import FabricPlan, Port, Wanted, home_tag, plan, watched
from wirt.plan.networks_actions import Action
from wirt.plan.networks_services import Guest
from wirt.plan.networks_shares import DEFAULT_WEIGHT, Share
from wirt.plan.networks_wishes import default_network
from wirt.plan.nics import generated_mac
from wirt.plan.vlans import membership
from wirt.ports.fabric import Fabric


@dataclass(frozen=True, slots=True)
class Member:
    """A card of a domain in a network. ``tap`` is ``None`` while the domain does not run."""

    domain: Domain
    index: int
    mac: str
    tap: str | None
    vif: VifSpec


def fabric_of(environment: Environment) -> Fabric:
    if environment.fabric is None:
        raise Unavailable("this host has no networks of wirt's", hint="run wirtd as root")
    return environment.fabric


def default_of(environment: Environment) -> NetworkConfig:
    return default_network(environment.settings.default_bridge, environment.settings.default_address)


def all_networks(environment: Environment) -> tuple[NetworkConfig, ...]:
    """Those that may be joined, the default one first."""
    here = (network.config for network in environment.networks if not network.leaving)
    return (default_of(environment), *here)


def members(environment: Environment, network: NetworkConfig) -> Iterator[Member]:
    """The cards of all domains in it. A run that is under way counts as it was plugged in, not as it is configured
    now."""
    for domain in environment.domains:
        notes = domain.incarnation.notes if domain.incarnation is not None else {}
        runs = domain.incarnation is not None and domain.state is not State.OFF
        for index, vif in zip(devids(domain.config.vifs), domain.config.vifs, strict=True):
            bridge = notes.get(f"bridge.{index}") if runs and f"kind.{index}" in notes else None
            inside = bridge == network.bridge if bridge is not None else _configured(environment, vif, network)
            if inside and not (runs and bridge is None and f"kind.{index}" in notes):
                mac = (vif.mac or generated_mac(domain.uuid, index)).lower()
                yield Member(domain, index, mac, notes.get(f"tap.{index}") if runs else None, vif)


def _configured(environment: Environment, vif: VifSpec, network: NetworkConfig) -> bool:
    if vif.network is not None:
        return vif.network == network.name
    if vif.bridge is not None:
        return vif.bridge == network.bridge
    bridged = vif.kind is VifKind.BRIDGE or (vif.kind is None and environment.network.can_bridge())
    return bridged and network.name == DEFAULT_NETWORK


def wanted(
    environment: Environment, leaving: Sequence[NetworkConfig] = (), joining: Sequence[NetworkConfig] = ()
) -> Wanted:
    """What is recorded. The default network counts while guests are in it, or there are others it must be kept
    apart from."""
    tag = home_tag(environment.settings.home)
    default, *others = (*all_networks(environment), *joining)
    inside = {network.name: tuple(members(environment, network)) for network in (default, *others)}
    networks = tuple(
        network for network in (default, *others) if network is not default or _runs(inside[DEFAULT_NETWORK])
    )
    guests = tuple(
        Guest(network.name, member.domain.name, member.mac, member.vif.ip)
        for network in networks
        for member in inside[network.name]
    )
    ports = tuple(
        Port(member.tap, network.bridge, membership(member.vif.vlan) if member.vif.vlan else None)
        for network in networks
        for member in inside[network.name]
        if member.tap is not None
    )
    shares = {
        network.name: tuple(
            Share(
                member.mac,
                environment.qos_classes.effective(member.domain.config).network_weight or DEFAULT_WEIGHT,
            )
            for member in inside[network.name]
            if member.tap is not None
        )
        for network in networks
        if network.share is not None
    }
    gone = tuple(each for each in leaving if each.name not in {network.name for network in networks})
    return Wanted(tag, networks, guests, ports, gone, shares)


def notes(environment: Environment) -> list[str]:
    """For ``wirt info``: where weights of networks count."""
    shared = [network for network in all_networks(environment) if network.share is not None]
    if not shared:
        return [
            "no network's way out is shared (wirt network create --share), so network weights count for nothing"
        ]
    one_way = [network.name for network in shared if network.mode in FORWARDED]
    only = f"; on {', '.join(one_way)} only for what guests are sent" if one_way else ""
    return [f"network weights count on {', '.join(network.name for network in shared)}{only}"]


def weight_remarks(environment: Environment, domain: Domain) -> tuple[str, ...]:
    """Why the weight of its cards counts for nothing, if it has one and that is so."""
    weight = environment.qos_classes.effective(domain.config).network_weight
    if weight is None:
        return ()
    shared = [network for network in all_networks(environment) if network.share is not None]
    if any(member.domain.uuid == domain.uuid for network in shared for member in members(environment, network)):
        return ()
    return (
        f"its network weight of {weight} counts for nothing now: it has no card in a network whose way out is "
        "shared (wirt network create --share)",
    )


def _runs(inside: Sequence[Member]) -> bool:
    return any(member.tap is not None for member in inside)


async def planned(
    environment: Environment, leaving: Sequence[NetworkConfig] = (), joining: Sequence[NetworkConfig] = ()
) -> FabricPlan:
    """What would have to be done now; nothing is."""
    goal = wanted(environment, leaving, joining)
    devices = watched((*goal.networks, *leaving), goal.ports, goal.tag)
    return plan(goal, await fabric_of(environment).observe(devices))


def concerning(found: FabricPlan, network: str) -> FabricPlan:
    """What of ``found`` is about this network, or about all of them."""
    return FabricPlan(
        tuple(action for action in found.actions if action.network in ("", network)),
        tuple(problem for problem in found.problems if problem.network == network),
    )


async def bring_about(
    environment: Environment, network: NetworkConfig, *, leaving: bool = False
) -> tuple[Action, ...]:
    """Make the host as recorded as far as this network goes. ``Unavailable`` for the first thing that can't be
    done; what was done before it stays, for whoever undoes it."""
    gone = (network,) if leaving else ()
    async with environment.networks.upkeep.lock:
        found = concerning(await planned(environment, gone), network.name)
        for problem in found.problems:
            if problem.blocks and not leaving:
                raise Unavailable(problem.message, hint=problem.hint)
        for action in found.actions:
            await fabric_of(environment).apply(action)
        left = concerning(await planned(environment, gone), network.name)
    if left.actions:
        raise Unavailable(f"network {network.name} is not as it should be: {left.actions[0]}", hint="try again")
    return found.actions
