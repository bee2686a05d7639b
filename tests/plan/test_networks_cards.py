"""Which bridge a card is plugged into, by the network that it names."""

from __future__ import annotations

from ipaddress import IPv4Interface

import pytest

from wirt.model.devices import VifKind, VifSpec
from wirt.model.errors import ConfigError
from wirt.model.network import NetworkConfig, NetworkMode
from wirt.plan.host import HostFacts
from wirt.plan.networks_cards import bridge_of, network_of

LAN = NetworkConfig("lan", NetworkMode.NAT, "br-lan", IPv4Interface("10.5.0.1/24"))
TRUNK = NetworkConfig("trunk", NetworkMode.ISOLATED, "br-trunk", vlan_filtering=True)
OFFICE = NetworkConfig("office", NetworkMode.BRIDGE, "br0", shared=True)
GONE = NetworkConfig("gone", NetworkMode.NAT, "br-gone")
HOST = HostFacts("h", 2, 2**30, 2**30, True, "wirtbr0", networks=(LAN, TRUNK, OFFICE), leaving=(GONE,))


@pytest.mark.parametrize(
    ("vif", "network", "bridge"),
    [
        (VifSpec(), None, "wirtbr0"),
        (VifSpec(network="default"), None, "wirtbr0"),
        (VifSpec(network="lan"), LAN, "br-lan"),
        (VifSpec(bridge="br-lan"), LAN, "br-lan"),
        (VifSpec(bridge="br7"), None, "br7"),
        (VifSpec(network="trunk", vlan="10"), TRUNK, "br-trunk"),
        (VifSpec(network="office", vlan="10"), OFFICE, "br0"),
    ],
)
def test_a_card_is_plugged_into_the_network_that_it_names(
    vif: VifSpec, network: NetworkConfig | None, bridge: str
) -> None:
    found = network_of(vif, 0, HOST)
    assert (found, bridge_of(vif, found, HOST)) == (network, bridge)


@pytest.mark.parametrize(
    ("vif", "message"),
    [
        (VifSpec(network="lna"), "there is no network lna"),
        (VifSpec(network="x"), "there is no network x"),
        (VifSpec(network="lan", vlan="10"), "network lan tells no VLANs apart"),
        (VifSpec(network="lan", kind=VifKind.USER), "net=user"),
        (VifSpec(network="gone"), "network gone is being destroyed"),
        (VifSpec(bridge="br-gone"), "network gone is being destroyed"),
    ],
)
def test_a_card_that_can_not_join_is_told_why_and_what_to_do(vif: VifSpec, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        network_of(vif, 0, HOST)
    assert refusal.value.key == "vif"
    assert refusal.value.hint
