"""``wirt network create`` and ``destroy``: a network from someone's wish to a bridge that guests are plugged
into."""

from __future__ import annotations

from dataclasses import dataclass

from wirt.model.errors import BadInput, IllegalState, NotFound
from wirt.model.job import Job, Recovery
from wirt.model.network import DEFAULT_NETWORK, Network, NetworkConfig
from wirt.operations import records
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.networks_upkeep import (
    all_networks,
    bring_about,
    concerning,
    fabric_of,
    members,
    planned,
)
from wirt.operations.running import EnvContext
from wirt.plan.networks import FabricPlan, home_tag
from wirt.plan.networks_wishes import Wish, config_of


@dataclass(frozen=True, slots=True)
class Preview:
    config: NetworkConfig
    plan: FabricPlan


async def preview(environment: Environment, wish: Wish) -> Preview:
    """What ``create`` would do, and nothing done. Raises what ``create`` would."""
    config = await _config(environment, wish)
    return Preview(config, concerning(await planned(environment, joining=(config,)), config.name))


async def create(environment: Environment, wish: Wish) -> Job:
    """What can be known to be wrong is raised now, before there is a job."""
    config = await _config(environment, wish)
    arguments = {"network": config.name, "config": records.network_values(config)}
    return await environment.jobs.submit(JobKind.NETWORK_CREATE, f"network {config.name}", arguments)


async def destroy(environment: Environment, name: str) -> Job:
    """``IllegalState`` while cards of running domains are in it."""
    if name == DEFAULT_NETWORK:
        raise BadInput(
            "the default network is not destroyed: its bridge is made when a card needs it",
            hint='another bridge is chosen in wirt.toml: bridge = "NAME"',
        )
    network = environment.networks.find(name)
    _check_unused(environment, network.config)
    return await environment.jobs.submit(JobKind.NETWORK_DESTROY, f"network {name}", {"network": name})


async def plan(environment: Environment, name: str | None = None) -> FabricPlan:
    """What would be done to make the host as recorded: of one network, or of all."""
    if name is not None and name != DEFAULT_NETWORK:
        environment.networks.find(name)
    found = await planned(environment)
    return found if name is None else concerning(found, name)


async def _config(environment: Environment, wish: Wish) -> NetworkConfig:
    fabric = fabric_of(environment)
    leaving = [network.config for network in environment.networks if network.leaving]
    others = (*all_networks(environment), *leaving)
    state = await fabric.observe()
    config = config_of(wish, others, state, home_tag(environment.settings.home))
    await fabric.check(config)
    return config


def _check_unused(environment: Environment, network: NetworkConfig) -> None:
    running = sorted({each.domain.name for each in members(environment, network) if each.tap is not None})
    if running:
        what = (
            f"domain {running[0]}" if len(running) == 1 else f"{len(running)} domains ({', '.join(running[:5])})"
        )
        raise IllegalState(
            f"network {network.name} is in use by {what}",
            hint=f"wirt shutdown {running[0]}, or wirt network-detach its card, first",
        )


async def _check_empty(environment: Environment, network: NetworkConfig) -> None:
    state = await fabric_of(environment).observe()
    taps = sorted(
        link.name for link in state.links.values() if (link.kind, link.master) == ("tun", network.bridge)
    )
    if taps:
        raise IllegalState(
            f"network {network.name} is in use: {taps[0]} is in its bridge {network.bridge}",
            hint=f"end what it belongs to, or take it out: ip link set {taps[0]} nomaster",
        )


def _config_of(context: EnvContext) -> NetworkConfig:
    return records.network_of_values(context.job.arguments["config"])


async def _reserve(context: EnvContext) -> None:
    """Name, bridge and addresses are ours from here on: of two creates at once, one fails in this step."""
    environment, config = context.environment, _config_of(context)
    for other in environment.networks:
        _check_apart(config, other.config)
    now = environment.clock.now()
    await environment.networks.add(Network(config, now, context.job.id))


def _check_apart(config: NetworkConfig, other: NetworkConfig) -> None:
    """A network that was made meanwhile may have taken what this one was to have."""
    pairs = ((config.address, other.address), (config.address6, other.address6))
    overlap = any(mine and theirs and mine.network.overlaps(theirs.network) for mine, theirs in pairs)
    if overlap or config.bridge == other.bridge:
        what = "network" if overlap else "bridge"
        raise IllegalState(f"network {other.name} has been given the same {what} meanwhile", hint="try again")


async def _release(context: EnvContext) -> None:
    """Only what this job itself recorded."""
    environment, name = context.environment, context.job.arguments["network"]
    network = environment.networks.get(name)
    if network is not None and network.created_by == context.job.id:
        await environment.networks.remove(name)


async def _build(context: EnvContext) -> None:
    config = _config_of(context)
    await bring_about(context.environment, config)
    await context.note(result={"name": config.name, "bridge": config.bridge})
    _tell(context.environment, config.name, "created")


async def _tear_down(context: EnvContext) -> None:
    """With the record marked, so that what is being removed is not wanted any more."""
    environment, config = context.environment, _config_of(context)
    network = environment.networks.get(config.name)
    if network is None or network.created_by != context.job.id:
        return
    await environment.networks.change(network, leaving=True)
    await bring_about(environment, config, leaving=True)


async def _retire(context: EnvContext) -> None:
    """From here on nobody may join it."""
    environment, name = context.environment, context.job.arguments["network"]
    network = environment.networks.find(name)
    _check_unused(environment, network.config)
    if not network.leaving:
        await environment.networks.change(network, leaving=True)


async def _reinstate(context: EnvContext) -> None:
    environment = context.environment
    network = environment.networks.get(context.job.arguments["network"])
    if network is not None and network.leaving:
        await environment.networks.change(network, leaving=False)
        environment.networks.upkeep.news.set()


async def _dismantle(context: EnvContext) -> None:
    """Whoever was being plugged in when it was retired is seen now: in the records, or by his tap."""
    network = context.environment.networks.get(context.job.arguments["network"])
    if network is not None:
        _check_unused(context.environment, network.config)
        await _check_empty(context.environment, network.config)
        await bring_about(context.environment, network.config, leaving=True)


async def _forget(context: EnvContext) -> None:
    name = context.job.arguments["network"]
    await context.environment.networks.remove(name)
    _tell(context.environment, name, "destroyed")


def _tell(environment: Environment, name: str, what: str) -> None:
    environment.bus.publish("network", None, None, {"network": name, "change": what})


CREATE_NETWORK = Operation(
    JobKind.NETWORK_CREATE,
    (Step("reserve", _reserve, _release), Step("build", _build, _tear_down)),
    recovery=Recovery.UNDO,
)
DESTROY_NETWORK = Operation(
    JobKind.NETWORK_DESTROY,
    (
        Step("retire", _retire, _reinstate),
        Step("dismantle", _dismantle, nothing_to_undo),
        Step("forget", _forget, nothing_to_undo, final=True),
    ),
    recovery=Recovery.FINISH,
)
NETWORKING = (CREATE_NETWORK, DESTROY_NETWORK)


def network_called(environment: Environment, name: str) -> NetworkConfig:
    """``NotFound``; the default one is there always."""
    for config in all_networks(environment):
        if config.name == name:
            return config
    network = environment.networks.get(name)
    if network is None:
        environment.networks.find(name)
        raise NotFound(f"there is no network {name}")
    return network.config
