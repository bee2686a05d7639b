"""The bridge that wirt makes by itself."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest

from wirt.model.errors import ResourceBusy, Unavailable
from wirt.network import DefaultBridge, HostNetwork
from wirt.plan.networks import fixed_mac
from wirt.ports.virtual_clock import VirtualClock

from .namespace import run
from .worlds import card, devices, kind_of

pytestmark = pytest.mark.root


async def test_it_is_made_with_its_address_and_a_mac_of_its_own(network: HostNetwork) -> None:
    await network.unplug(await network.plug(card()))

    bridge = _bridge()
    assert _addresses(bridge) == ["10.219.0.1/24"]
    assert "UP" in bridge["flags"]
    assert bridge["address"] == fixed_mac("wirtbr0")
    assert bridge["linkinfo"]["info_data"]["stp_state"] == 0
    assert bridge["linkinfo"]["info_data"]["forward_delay"] == 0


async def test_its_mac_stays_when_cards_come_and_go(network: HostNetwork) -> None:
    first = await network.plug(card("vif1.0"))
    second = await network.plug(card("vif2.0", mac="00:16:3e:00:00:02"))
    await network.unplug(first)
    await network.unplug(second)

    assert _bridge()["address"] == fixed_mac("wirtbr0")


def test_its_mac_is_locally_administered_and_unicast() -> None:
    for name in (f"wirtbr{n}" for n in range(100)):
        first = int(fixed_mac(name)[:2], 16)
        assert first & 0b11 == 0b10


async def test_it_forwards_nothing_and_believes_no_router_even_on_a_host_that_forwards(
    network: HostNetwork,
) -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    await network.unplug(await network.plug(card()))

    assert Path("/proc/sys/net/ipv4/conf/wirtbr0/forwarding").read_text().strip() == "0"
    ipv6 = Path("/proc/sys/net/ipv6/conf/wirtbr0/disable_ipv6")
    assert not ipv6.exists() or ipv6.read_text().strip() == "1"


async def test_a_guest_reaches_the_host_in_it(network: HostNetwork) -> None:
    """Seen from the host: it can listen on the bridge's address."""
    plugged = await network.plug(card())
    with socket.create_server(("10.219.0.1", 0)):
        pass
    await network.unplug(plugged)


async def test_daemons_that_make_it_at_once_agree(namespace: None, clock: VirtualClock) -> None:
    daemons = [HostNetwork(DefaultBridge(), clock, name=f"wirt-{n}") for n in range(5)]

    plugged = await asyncio.gather(
        *(daemon.plug(card("vif1.0", mac=f"00:16:3e:00:00:0{n}")) for n, daemon in enumerate(daemons))
    )

    assert [name for name, device in devices().items() if kind_of(device) == "bridge"] == ["wirtbr0"]
    assert _addresses(_bridge()) == ["10.219.0.1/24"]
    assert len({each.tap for each in plugged}) == 5
    for daemon, each in zip(daemons, plugged, strict=True):
        await daemon.unplug(each)


async def test_one_that_a_dying_daemon_left_half_made_is_completed(network: HostNetwork) -> None:
    run("ip", "link", "add", "wirtbr0", "type", "bridge")

    await network.unplug(await network.plug(card()))

    assert _addresses(_bridge()) == ["10.219.0.1/24"]
    assert "UP" in _bridge()["flags"]
    assert Path("/proc/sys/net/ipv4/conf/wirtbr0/forwarding").read_text().strip() == "0"


async def test_one_that_someone_removed_or_set_down_comes_back(network: HostNetwork) -> None:
    await network.unplug(await network.plug(card()))
    run("ip", "link", "del", "wirtbr0")
    await network.unplug(await network.plug(card()))
    assert _addresses(_bridge()) == ["10.219.0.1/24"]

    run("ip", "link", "set", "wirtbr0", "down")
    await network.unplug(await network.plug(card()))
    assert "UP" in _bridge()["flags"]


async def test_what_an_administrator_set_on_it_is_kept(network: HostNetwork) -> None:
    await network.unplug(await network.plug(card()))
    run("ip", "address", "add", "192.0.2.1/24", "dev", "wirtbr0")
    Path("/proc/sys/net/ipv4/conf/wirtbr0/forwarding").write_text("1")

    again = HostNetwork(DefaultBridge(), VirtualClock())
    await again.unplug(await again.plug(card()))

    assert _addresses(_bridge()) == ["10.219.0.1/24", "192.0.2.1/24"]
    assert Path("/proc/sys/net/ipv4/conf/wirtbr0/forwarding").read_text().strip() == "1"


@pytest.mark.parametrize("other", ["10.219.0.7/24", "10.219.0.200/25", "10.1.2.3/8"])
async def test_a_network_that_the_host_is_in_already_is_refused(network: HostNetwork, other: str) -> None:
    run("ip", "link", "add", "eth7", "type", "veth", "peer", "name", "far")
    run("ip", "address", "add", other, "dev", "eth7")

    with pytest.raises(Unavailable, match=rf"10\.219\.0\.0/24 collides with {other} on eth7") as refusal:
        await network.plug(card())

    assert refusal.value.hint is not None
    assert "wirt.toml: bridge-address" in refusal.value.hint and "net=user" in refusal.value.hint
    assert {"wirtbr0", "vif1.0"}.isdisjoint(devices())


async def test_a_collision_is_no_matter_to_a_card_in_another_bridge(network: HostNetwork) -> None:
    run("ip", "link", "add", "br0", "type", "bridge")
    run("ip", "address", "add", "10.219.0.7/24", "dev", "br0")

    plugged = await network.plug(card(bridge="br0"))

    assert "wirtbr0" not in devices()
    await network.unplug(plugged)


async def test_another_address_and_name_can_be_set(namespace: None, clock: VirtualClock) -> None:
    network = HostNetwork(DefaultBridge("guests0", IPv4Interface("192.168.77.1/28")), clock)

    await network.unplug(await network.plug(card(bridge="guests0")))

    assert _addresses(devices()["guests0"]) == ["192.168.77.1/28"]


async def test_another_kind_of_device_in_its_name_is_no_bridge(network: HostNetwork) -> None:
    run("ip", "link", "add", "wirtbr0", "type", "veth", "peer", "name", "far")

    with pytest.raises(ResourceBusy, match="wirtbr0"):
        await network.plug(card())

    assert "vif1.0" not in devices()


def _bridge() -> dict[str, Any]:
    return devices()["wirtbr0"]


def _addresses(device: dict[str, Any]) -> list[str]:
    return [f"{a['local']}/{a['prefixlen']}" for a in device["addr_info"] if a["family"] == "inet"]
