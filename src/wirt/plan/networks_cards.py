"""Which of wirt's networks a card is plugged into."""

from __future__ import annotations

from difflib import get_close_matches

from wirt.model.devices import VifKind, VifSpec
from wirt.model.errors import ConfigError
from wirt.model.network import DEFAULT_NETWORK, NetworkConfig
from wirt.plan.host import HostFacts


def network_of(vif: VifSpec, index: int, host: HostFacts) -> NetworkConfig | None:
    """The network that ``network=`` names, or whose bridge ``bridge=`` names; ``None`` for another bridge, and
    for the default one. ``ConfigError`` for a network that there is not, and for a VLAN in one that tells none
    apart."""
    for each in host.leaving:
        if vif.network == each.name or vif.bridge == each.bridge:
            hint = "wait until it is gone, and make it anew: wirt network create"
            raise ConfigError(f"vif {index}: network {each.name} is being destroyed", key="vif", hint=hint)
    if vif.network is None:
        found = next((each for each in host.networks if each.bridge == vif.bridge), None)
    elif vif.network == DEFAULT_NETWORK:
        found = None
    else:
        found = _named(vif.network, index, host)
    if vif.network is not None and vif.kind not in (None, VifKind.BRIDGE):
        hint = f"leave net={vif.kind} out, or network={vif.network}"
        raise ConfigError(f"vif {index} is in a network and is not: net={vif.kind}", key="vif", hint=hint)
    if vif.vlan is not None and found is not None and not (found.vlan_filtering or found.foreign):
        hint = "leave vlan= out, or make a network with --vlan-filtering"
        raise ConfigError(f"vif {index}: network {found.name} tells no VLANs apart", key="vif", hint=hint)
    return found


def _named(name: str, index: int, host: HostFacts) -> NetworkConfig:
    known = {network.name: network for network in host.networks}
    if name not in known:
        near = get_close_matches(name, [*known, DEFAULT_NETWORK], n=2, cutoff=0.5)
        all_of_them = ", ".join((DEFAULT_NETWORK, *known))
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {all_of_them}"
        raise ConfigError(f"vif {index}: there is no network {name}", key="vif", hint=hint)
    return known[name]


def bridge_of(vif: VifSpec, network: NetworkConfig | None, host: HostFacts) -> str:
    return network.bridge if network is not None else (vif.bridge or host.default_bridge)
