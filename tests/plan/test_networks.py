"""What is planned, done, leaves nothing to be planned; and nothing of anybody else's is touched."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wirt.model.network import DhcpRange, NetworkConfig, NetworkMode, Vxlan
from wirt.network.fabric_fake import FakeFabric, bare_host, with_link, without
from wirt.plan import networks_actions as actions
from wirt.plan.networks import FabricPlan, Port, Wanted, device_mac, devices_of, plan
from wirt.plan.networks_services import Guest
from wirt.plan.networks_state import FabricState, LinkState
from wirt.plan.networks_wishes import default_network
from wirt.plan.vlans import VlanMembership, membership

TAG = "0123abcd"


def nat(name: str = "lan", number: int = 5, **more: object) -> NetworkConfig:
    return addressed(name, NetworkMode.NAT, number, **more)


def addressed(name: str, mode: NetworkMode, number: int, **more: object) -> NetworkConfig:
    address = IPv4Interface(f"10.{number}.0.1/24")
    dhcp = DhcpRange(address.ip + 1, address.ip + 200)
    values = {"address": address, "dhcp": dhcp, "dns": True, **more}
    return NetworkConfig(name, mode, f"br-{name}", **values)  # type: ignore[arg-type]


def vxlan(name: str = "wide", peers: tuple[str, ...] = ("192.0.2.11", "192.0.2.12")) -> NetworkConfig:
    return NetworkConfig(name, NetworkMode.VXLAN, f"br-{name}", vxlan=Vxlan(7, "192.0.2.10", peers), mtu=1450)


def uplinked(name: str = "office", vlan: int | None = None) -> NetworkConfig:
    return NetworkConfig(name, NetworkMode.BRIDGE, f"br-{name}", uplink="eth1", vlan=vlan)


def tap(name: str, master: str | None = None) -> LinkState:
    return LinkState(name, 100 + int(name[3]), "tun", "52:54:00:00:01:01", up=True, master=master)


def do(fabric: FakeFabric, wanted: Wanted) -> FabricPlan:
    found = plan(wanted, fabric.state)
    for action in found.actions:
        fabric.state = fabric.after(fabric.state, action)
    return found


DEFAULT = default_network("wirtbr0", IPv4Interface("10.219.0.1/24"))
ALL = (
    DEFAULT,
    nat(),
    nat("six", 6, address6=IPv6Interface("fd5a:1::1/64"), advertise=True),
    addressed("iso", NetworkMode.ISOLATED, 7),
    addressed("out", NetworkMode.ROUTED, 8, uplink="eth0"),
    vxlan(),
    uplinked(vlan=10),
    uplinked("plain"),
)

networks = st.lists(st.sampled_from(ALL), unique_by=lambda each: each.name).map(tuple)


@st.composite
def disturbed(draw: st.DrawFn, state: FabricState) -> FabricState:
    """Somebody removes and changes what he likes."""
    for name in draw(st.lists(st.sampled_from(sorted(state.links)), max_size=3, unique=True)):
        if name in ("lo", "eth0", "eth1"):
            continue
        link = state.links.get(name)
        if link is None:
            continue
        state = draw(
            st.sampled_from(
                [
                    without(state, name),
                    with_link(state, replace(link, up=False)),
                    with_link(state, replace(link, addresses=frozenset())),
                    with_link(state, replace(link, master=None)),
                    with_link(state, replace(link, mtu=9000)),
                ]
            )
        )
    if draw(st.booleans()) and state.servers:
        name = draw(st.sampled_from(sorted(state.servers)))
        dead = replace(state.servers[name], pid=None)
        state = replace(state, servers={**state.servers, name: dead})
    if draw(st.booleans()):
        state = replace(state, rules=draw(st.sampled_from([None, "[]"])))
    if draw(st.booleans()) and state.sysctls:
        key = draw(st.sampled_from(sorted(state.sysctls)))
        if key[1] != "all":
            state = replace(state, sysctls={**state.sysctls, key: "1" if state.sysctls[key] == "0" else "0"})
    return state


@settings(deadline=None)
@given(st.data(), networks, networks)
def test_what_was_planned_and_done_leaves_nothing_to_do(
    data: st.DataObject, before: tuple[NetworkConfig, ...], after: tuple[NetworkConfig, ...]
) -> None:
    fabric = FakeFabric()
    do(fabric, Wanted(TAG, before))
    assert plan(Wanted(TAG, before), fabric.state).actions == ()
    fabric.state = data.draw(disturbed(fabric.state))
    gone = tuple(each for each in before if each not in after)
    wanted = Wanted(TAG, after, leaving=gone)
    do(fabric, wanted)
    assert plan(wanted, fabric.state).actions == ()


@settings(deadline=None)
@given(st.data(), networks)
def test_doing_a_plan_twice_is_doing_it_once(data: st.DataObject, chosen: tuple[NetworkConfig, ...]) -> None:
    """A crash after any action repeats those before it."""
    fabric = FakeFabric()
    todo = plan(Wanted(TAG, chosen), fabric.state).actions
    stop = data.draw(st.integers(0, len(todo)))
    for action in (*todo[:stop], *todo):
        fabric.state = fabric.after(fabric.state, action)
    assert plan(Wanted(TAG, chosen), fabric.state).actions == ()


@settings(deadline=None)
@given(networks)
def test_nothing_is_left_of_networks_that_are_gone(chosen: tuple[NetworkConfig, ...]) -> None:
    own = tuple(each for each in chosen if not each.shared)
    fabric = FakeFabric()
    before = fabric.state
    do(fabric, Wanted(TAG, own))
    do(fabric, Wanted(TAG, (), leaving=own))
    after = fabric.state
    assert {name: replace(link, master=None) for name, link in after.links.items()} == dict(before.links)
    assert (after.rules, after.servers) == (None, {})
    assert after.sysctls == before.sysctls


@settings(deadline=None)
@given(networks)
def test_no_device_of_anybody_else_is_touched(chosen: tuple[NetworkConfig, ...]) -> None:
    foreign = {"docker0": "bridge", "br-lan": "bridge", "vx-wide": "vxlan", "vl-office": "bridge", "tun0": "tun"}
    state = bare_host()
    for number, (name, kind) in enumerate(foreign.items()):
        state = with_link(state, LinkState(name, 50 + number, kind, f"52:54:00:00:02:{number:02x}"))
    fabric = FakeFabric(state)
    found = do(fabric, Wanted(TAG, chosen))
    for name in foreign:
        assert fabric.state.links[name] == state.links[name]
    blocked = {problem.network for problem in found.problems if problem.blocks}
    assert blocked == {each.name for each in chosen if each.name in ("lan", "wide", "office")}
    for network in chosen:
        assert network.name in blocked or network.bridge in fabric.state.links


def test_devices_of_another_home_are_another_homes() -> None:
    fabric = FakeFabric()
    do(fabric, Wanted(TAG, (nat(),)))
    other = Wanted("ffff0000", (nat("lan", 9),))
    found = plan(other, fabric.state)
    assert [problem.message for problem in found.problems if problem.blocks] == ["br-lan is another's device"]
    assert not [action for action in found.actions if isinstance(action, actions.DeleteDevice)]


def test_rules_are_in_force_before_a_bridge_is_up() -> None:
    kinds = [type(action) for action in plan(Wanted(TAG, ALL), bare_host()).actions]
    assert kinds.index(actions.SetRules) < kinds.index(actions.AddBridge)
    assert kinds.index(actions.AddBridge) < kinds.index(actions.StartServer)


def test_the_ports_of_a_bridge_that_was_deleted_are_put_into_the_new_one() -> None:
    fabric = FakeFabric()
    wanted = Wanted(TAG, (nat(),), ports=(Port("vif1.0", "br-lan"), Port("vif2.0", "br-lan")))
    do(fabric, wanted)
    fabric.state = with_link(fabric.state, tap("vif1.0", "br-lan"))
    fabric.state = with_link(fabric.state, tap("vif2.0", "br-lan"))
    fabric.state = without(fabric.state, "br-lan")
    do(fabric, wanted)
    assert {fabric.state.links[name].master for name in ("vif1.0", "vif2.0")} == {"br-lan"}


def test_a_tap_that_is_in_another_bridge_is_told_and_left_there() -> None:
    fabric = FakeFabric()
    wanted = Wanted(TAG, (nat(),), ports=(Port("vif1.0", "br-lan"),))
    do(fabric, wanted)
    fabric.state = with_link(fabric.state, LinkState("br9", 99, "bridge", "52:54:00:00:09:09"))
    fabric.state = with_link(fabric.state, tap("vif1.0", "br9"))
    found = do(fabric, wanted)
    assert fabric.state.links["vif1.0"].master == "br9"
    assert [problem.message for problem in found.problems] == ["the tap vif1.0 is in the bridge br9"]


def test_a_device_that_took_the_name_of_a_tap_is_not_taken_for_it() -> None:
    fabric = FakeFabric(with_link(bare_host(), LinkState("vif1.0", 50, "veth", "52:54:00:00:09:09")))
    do(fabric, Wanted(TAG, (nat(),), ports=(Port("vif1.0", "br-lan"),)))
    assert fabric.state.links["vif1.0"].master is None


def test_a_server_is_started_anew_with_its_bridge() -> None:
    fabric = FakeFabric()
    wanted = Wanted(TAG, (nat(),))
    do(fabric, wanted)
    old = fabric.state.servers["lan"]
    fabric.state = with_link(without(fabric.state, "br-lan"), LinkState("other", 77, "dummy", "52:54:00:00:09:09"))
    do(fabric, wanted)
    new = fabric.state.servers["lan"]
    assert new.pid != old.pid
    assert new.device == fabric.state.links["br-lan"].index


def test_a_guest_that_comes_or_goes_is_told_without_a_new_server() -> None:
    fabric = FakeFabric()
    do(fabric, Wanted(TAG, (nat(),)))
    guest = Guest("lan", "web", "00:16:3e:00:00:01", ("10.5.0.20",))
    found = do(fabric, Wanted(TAG, (nat(),), guests=(guest,)))
    assert [type(action) for action in found.actions] == [actions.ReloadServer]
    assert fabric.state.servers["lan"].hosts == "00:16:3e:00:00:01,10.5.0.20,web\n\n10.5.0.20 web\n"


def test_a_host_that_forwards_for_all_keeps_doing_so() -> None:
    state = bare_host()
    keys = {("ipv4", "all", "forwarding"): "1", ("ipv4", "eth0", "forwarding"): "1"}
    fabric = FakeFabric(replace(state, sysctls={**state.sysctls, **keys}))
    do(fabric, Wanted(TAG, (nat(),)))
    do(fabric, Wanted(TAG, (), leaving=(nat(),)))
    assert fabric.state.sysctls["ipv4", "eth0", "forwarding"] == "1"


def test_only_the_way_out_forwards_and_no_longer_than_it_is_needed() -> None:
    fabric = FakeFabric()
    do(fabric, Wanted(TAG, (nat(), nat("lab", 6))))
    assert fabric.state.sysctls["ipv4", "eth0", "forwarding"] == "1"
    assert fabric.state.sysctls["ipv4", "eth1", "forwarding"] == "0"
    do(fabric, Wanted(TAG, (nat(),), leaving=(nat("lab", 6),)))
    assert fabric.state.sysctls["ipv4", "eth0", "forwarding"] == "1"
    do(fabric, Wanted(TAG, (), leaving=(nat(),)))
    assert fabric.state.sysctls["ipv4", "eth0", "forwarding"] == "0"


def test_an_uplink_that_is_gone_is_told_and_the_others_are_made() -> None:
    fabric = FakeFabric(without(bare_host(), "eth1"))
    found = do(fabric, Wanted(TAG, (uplinked("plain"), nat())))
    assert [problem.message for problem in found.problems] == ["the uplink eth1 is gone"]
    assert "br-plain" not in fabric.state.links
    assert "br-lan" in fabric.state.links


def test_peers_of_a_vxlan_come_and_go() -> None:
    fabric = FakeFabric()
    do(fabric, Wanted(TAG, (vxlan(),)))
    do(fabric, Wanted(TAG, (vxlan(peers=("192.0.2.12", "192.0.2.13")),)))
    found = fabric.state.links["vx-wide"].vxlan
    assert found is not None
    assert found.peers == {"192.0.2.12", "192.0.2.13"}


def test_every_action_says_what_it_does() -> None:
    fabric = FakeFabric()
    found = do(fabric, Wanted(TAG, ALL))
    gone = plan(Wanted(TAG, (), leaving=ALL), fabric.state)
    for action in (*found.actions, *gone.actions):
        assert str(action)[0].islower()
        assert not str(action).endswith(".")


def test_device_addresses_are_local_and_unicast() -> None:
    for name in ("br-lan", "vx-wide", "a"):
        assert int(device_mac(TAG, name)[:2], 16) & 0x03 == 0x02


def test_long_names_have_devices_of_their_own() -> None:
    first, second = (replace(vxlan("a-network-with-a-very-long-name" + end), bridge="b" + end) for end in "12")
    names = {*devices_of(first, TAG), *devices_of(second, TAG)}
    assert len(names) == 4
    assert all(len(name) <= 15 for name in names)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", VlanMembership(10, (10,))),
        ("10p", VlanMembership(10, (10,))),
        ("10p/20", VlanMembership(10, (10,), (20,))),
        ("10p/20u/30-32", VlanMembership(10, (10, 20), (30, 31, 32))),
        ("1p/100+10x3", VlanMembership(1, (1,), (100, 110, 120, 130))),
    ],
)
def test_vlans_are_read_as_xl_reads_them(text: str, expected: VlanMembership) -> None:
    assert membership(text) == expected
