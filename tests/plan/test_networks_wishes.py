"""What is asked of a new network is completed sensibly, or refused with the key and a remedy."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface, ip_interface, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wirt.model.errors import ConfigError, WirtError
from wirt.model.network import NetworkConfig, NetworkMode
from wirt.network.fabric_fake import bare_host, with_link
from wirt.plan.networks_state import LinkState
from wirt.plan.networks_wishes import Wish, config_of, default_network

TAG = "0123abcd"
OTHERS = (default_network("wirtbr0", IPv4Interface("10.219.0.1/24")),)
HOST = with_link(bare_host(), LinkState("br0", 20, "bridge", "52:54:00:00:00:20", up=True))


def made(wish: Wish, others: tuple[NetworkConfig, ...] = OTHERS) -> NetworkConfig:
    return config_of(wish, others, HOST, TAG)


def test_a_name_alone_makes_a_network_that_works() -> None:
    config = made(Wish("lan"))
    assert (config.mode, config.bridge, config.dns) == (NetworkMode.NAT, "br-lan", True)
    assert str(config.address) == "10.220.0.1/24"
    assert str(config.dhcp) == "10.220.0.2-10.220.0.254"


def test_the_free_network_collides_with_nothing() -> None:
    state = with_link(HOST, replace(HOST.links["eth1"], addresses=frozenset({ip_interface("10.220.0.77/23")})))
    state = replace(state, routes=(*state.routes, (ip_network("10.220.2.0/24"), "tun0")))
    others = (*OTHERS, made(Wish("x", address="10.220.3.1/24")))
    assert str(config_of(Wish("lan"), others, state, TAG).address) == "10.220.4.1/24"


def test_an_isolated_network_has_an_address_unless_told_otherwise() -> None:
    assert made(Wish("a", mode="isolated")).dhcp is not None
    alone = made(Wish("a", mode="isolated", address="none"))
    assert (alone.address, alone.dhcp, alone.dns, alone.served) == (None, None, False, False)


def test_guests_get_the_larger_part_around_the_host() -> None:
    assert str(made(Wish("a", address="10.5.0.200/24")).dhcp) == "10.5.0.1-10.5.0.199"


def test_a_bridge_that_is_there_is_taken_as_it_is() -> None:
    config = made(Wish("office", mode="bridge", bridge="br0"))
    assert (config.foreign, config.address, config.dhcp, config.dns) == (True, None, None, False)


def test_the_bridges_name_gives_way_to_a_device_that_is_there() -> None:
    state = with_link(HOST, LinkState("br-lan", 30, "bridge", "52:54:00:00:00:30"))
    chosen = config_of(Wish("lan"), OTHERS, state, TAG).bridge
    assert chosen.startswith("br-")
    assert chosen != "br-lan"


def test_a_vxlan_leaves_room_for_its_headers() -> None:
    config = made(Wish("wide", vni=7, local="192.0.2.10", peers=("192.0.2.11",)))
    assert (config.mode, config.mtu, config.dhcp) == (NetworkMode.VXLAN, 1450, None)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Wish(""), "can't be a network's name"),
        (Wish("a/b"), "can't be a network's name"),
        (Wish("default"), "there is a network default already"),
        (Wish("a", mode="nta"), "there is no mode nta"),
        (Wish("a", address="10.5.0.1"), "no prefix that leaves room"),
        (Wish("a", address="10.5.0.1/31"), "no prefix that leaves room"),
        (Wish("a", address="10.5.0.0/24"), "network or broadcast address"),
        (Wish("a", address="10.5.0.255/24"), "network or broadcast address"),
        (Wish("a", address="127.0.0.5/8"), "can't be a host's address"),
        (Wish("a", address="224.0.0.5/8"), "can't be a host's address"),
        (Wish("a", address="ten"), "is no IPv4 address"),
        (Wish("a", address="fd00::1/64"), "is no IPv4 address"),
        (Wish("a", address="192.0.2.129/25"), "overlaps with 192.0.2.0/24, an address of eth0"),
        (Wish("a", address="10.219.0.129/25"), "overlaps with 10.219.0.0/24, network default"),
        (Wish("a", address6="10.0.0.1/24"), "is no IPv6 address"),
        (Wish("a", address6="fd00::1/48"), "in a /64"),
        (Wish("a", address6="fe80::1/64"), "can't be a host's address"),
        (Wish("a", mode="routed"), "a routed network needs an address"),
        (Wish("a", mode="routed", address="none"), "mode routed needs an address"),
        (Wish("a", address="10.5.0.1/24", dhcp="10.6.0.5-10.6.0.9"), "no guest's address in"),
        (Wish("a", address="10.5.0.1/24", dhcp="10.5.0.9-10.5.0.5"), "ends before it begins"),
        (Wish("a", address="10.5.0.1/24", dhcp="10.5.0.1-10.5.0.5"), "is the host's own"),
        (Wish("a", address="10.5.0.1/24", dhcp="many"), "is no range of addresses"),
        (Wish("a", mode="isolated", address="none", dhcp="10.5.0.2-10.5.0.9"), "DHCP needs an address"),
        (Wish("a", mode="isolated", address="none", dns=True), "DNS needs an address"),
        (Wish("a", domain="-x"), "is no domain name"),
        (Wish("a", domain="x\nserver=1"), "is no domain name"),
        (Wish("a", uplink="eth9"), "there is no device eth9"),
        (Wish("a", uplink="lo"), "can't be an uplink"),
        (Wish("a", uplink="wirtbr0"), "no device wirtbr0"),
        (Wish("a", mode="isolated", uplink="eth1"), "mode isolated has no uplink"),
        (Wish("a", mode="bridge"), "either an uplink or a bridge is needed"),
        (Wish("a", mode="bridge", uplink="eth0"), "the host would be cut off"),
        (Wish("a", mode="bridge", uplink="br0"), "is a bridge itself"),
        (Wish("a", mode="bridge", bridge="br7"), "br7 is not there"),
        (Wish("a", mode="bridge", bridge="eth1"), "eth1 is no bridge"),
        (Wish("a", mode="bridge", bridge="br0", address="10.5.0.1/24"), "stays as it is"),
        (Wish("a", mode="bridge", uplink="eth1", dhcp="10.5.0.2-10.5.0.9"), "a second DHCP server"),
        (Wish("a", bridge="br0"), "there is a device br0 already"),
        (Wish("a", bridge="a-device-name-too-long"), "can't be a network device's name"),
        (Wish("a", bridge="wirtbr0"), "is the bridge of network default"),
        (Wish("a", vlan=5), "a VLAN is one of an uplink"),
        (Wish("a", mode="bridge", uplink="eth1", vlan=4095), "there is no VLAN 4095"),
        (Wish("a", mode="bridge", uplink="eth1", vlan=0), "there is no VLAN 0"),
        (Wish("a", mode="vxlan"), "a VXLAN needs a number"),
        (Wish("a", vni=2**24), "there is no VXLAN"),
        (Wish("a", vni=7), "this host's own address is needed"),
        (Wish("a", vni=7, local="192.0.2.77"), "is no address of this host"),
        (Wish("a", vni=7, local="192.0.2.10", peers=("192.0.2.10",)), "can't be a peer"),
        (Wish("a", vni=7, local="192.0.2.10", peers=("fd00::1",)), "can't be a peer"),
        (Wish("a", vni=7, local="192.0.2.10", peers=("x",)), "x is no IP address"),
        (Wish("a", mode="nat", vni=7), "it is for mode vxlan"),
        (Wish("a", vni=7, local="192.0.2.10", port=70000), "there is no UDP port"),
        (Wish("a", mode="bridge", uplink="eth1", mtu=9000), "carries at most 1500 bytes"),
        (Wish("a", mtu=100), "no network has an MTU of 100"),
        (Wish("a", mtu=1000, address6="fd00::1/64"), "1280 or more"),
    ],
)
def test_what_can_not_be_is_refused_with_a_remedy(wish: Wish, message: str) -> None:
    with pytest.raises(WirtError, match=message) as refusal:
        made(wish)
    assert refusal.value.hint


def test_a_kernel_that_forwards_ipv6_only_for_all_is_told_of_and_not_changed() -> None:
    sysctls = {key: value for key, value in HOST.sysctls.items() if key[2] != "force_forwarding"}
    with pytest.raises(ConfigError, match="for the whole host or not at all"):
        config_of(Wish("a", address6="fd00::1/64"), OTHERS, replace(HOST, sysctls=sysctls), TAG)


def test_one_uplink_serves_several_vlans_and_each_once() -> None:
    first = made(Wish("a", mode="bridge", uplink="eth1", vlan=10))
    assert made(Wish("b", mode="bridge", uplink="eth1", vlan=11), (*OTHERS, first)).vlan == 11
    with pytest.raises(WirtError, match="VLAN 10 of eth1 is the uplink of network a"):
        made(Wish("b", mode="bridge", uplink="eth1", vlan=10), (*OTHERS, first))


words = st.one_of(st.none(), st.text(max_size=20), st.sampled_from(["none", "10.5.0.1/24", "eth0", "eth1", "br0"]))
numbers = st.one_of(st.none(), st.integers(-5, 2**25))


@settings(deadline=None)
@given(
    st.builds(
        Wish,
        name=st.one_of(st.text(max_size=45), st.sampled_from(["lan", "default"])),
        mode=st.one_of(st.none(), st.sampled_from([*NetworkMode, "x"])),
        bridge=words,
        address=words,
        address6=words,
        dhcp=words,
        dns=st.one_of(st.none(), st.booleans()),
        domain=words,
        uplink=words,
        vlan=numbers,
        vni=numbers,
        local=st.one_of(words, st.just("192.0.2.10")),
        peers=st.lists(st.text(max_size=9), max_size=2).map(tuple),
        port=numbers,
        mtu=numbers,
        vlan_filtering=st.booleans(),
    )
)
def test_any_wish_is_granted_or_refused_and_never_a_fault(wish: Wish) -> None:
    try:
        config = made(wish)
    except WirtError as refusal:
        assert refusal.message
    else:
        assert len(config.bridge.encode()) <= 15
