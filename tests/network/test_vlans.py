"""Cards with ``vlan=``, and networks on a tagged uplink: real frames, where the kernel has VLANs (else the test
host runs these)."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from wirt.model.errors import BadInput
from wirt.model.network import NetworkConfig, NetworkMode
from wirt.network import HostNetwork
from wirt.network.fabric import HostFabric
from wirt.network.fabric_links import open_fabric_links
from wirt.plan.networks import Wanted, plan, watched
from wirt.plan.vlans import membership

from .hosts import far_host
from .namespace import own_namespace, run
from .worlds import card

pytestmark = pytest.mark.root

TAG = "feedbeef"


def has_kernel(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0


@pytest.fixture
def filtering() -> Iterator[None]:
    with own_namespace():
        if not has_kernel("ip", "link", "add", "br-probe", "type", "bridge", "vlan_filtering", "1"):
            pytest.skip("needs CONFIG_BRIDGE_VLAN_FILTERING: the test host has it (pytest -m testhost)")
        run("ip", "link", "delete", "br-probe")
        yield


@pytest.fixture
def tagging() -> Iterator[None]:
    with own_namespace():
        run("ip", "link", "add", "br-probe", "type", "bridge")
        if not has_kernel("ip", "link", "add", "link", "br-probe", "name", "vl-probe", "type", "vlan", "id", "5"):
            pytest.skip("needs CONFIG_VLAN_8021Q: the test host has it (pytest -m testhost)")
        run("ip", "link", "delete", "vl-probe")
        run("ip", "link", "delete", "br-probe")
        yield


@pytest.fixture
async def stack() -> AsyncIterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def bring(directory: Path, *networks: NetworkConfig) -> None:
    fabric = HostFabric(TAG, directory)
    for network in networks:
        await fabric.check(network)
    wanted = Wanted(TAG, networks)
    for _ in range(2):
        found = plan(wanted, await fabric.observe(watched(networks, (), TAG)))
        for action in found.actions:
            await fabric.apply(action)
    assert found.actions == ()


async def test_a_card_with_vlans_is_refused_by_a_bridge_that_tells_none_apart(network: HostNetwork) -> None:
    run("ip", "link", "add", "br0", "type", "bridge")
    nic = replace(card("vif1.0", bridge="br0"), vlan="10")
    with pytest.raises(BadInput, match="br0 tells no VLANs apart") as refusal:
        await network.plug(nic)
    assert "--vlan-filtering" in str(refusal.value.hint)
    assert "vif1.0" not in run("ip", "link")


@pytest.mark.testhost
async def test_cards_of_one_vlan_reach_each_other_and_no_other_vlans(
    filtering: None, stack: ExitStack, tmp_path: Path
) -> None:
    lab = NetworkConfig("lab", NetworkMode.ISOLATED, "br-lab", vlan_filtering=True)
    await bring(tmp_path, lab)
    guests = {}
    for number, (name, vlan) in enumerate({"a": "10", "b": "10p", "c": "20", "d": "20p/10"}.items(), start=1):
        guests[name] = stack.enter_context(far_host(f"g-{name}", None, (f"10.1.0.{number}/24",)))
        run("ip", "link", "set", f"g-{name}", "master", "br-lab")
        async with open_fabric_links() as links:
            await links.set_vlans(links.index(f"g-{name}"), membership(vlan))
    assert guests["a"].pings("10.1.0.2")
    assert not guests["a"].pings("10.1.0.3", tries=1)
    assert guests["c"].pings("10.1.0.4")
    guests["d"].run("ip", "link", "add", "link", "eth0", "name", "v10", "type", "vlan", "id", "10")
    guests["d"].run("ip", "address", "add", "10.2.0.4/24", "dev", "v10")
    guests["d"].run("ip", "link", "set", "v10", "up")
    guests["a"].run("ip", "address", "add", "10.2.0.1/24", "dev", "eth0")
    assert guests["a"].pings("10.2.0.4"), "tagged on one side, untagged on the other"


@pytest.mark.testhost
async def test_a_plugged_card_is_in_its_vlans_and_in_no_other(filtering: None, tmp_path: Path) -> None:
    from wirt.network import DefaultBridge
    from wirt.ports.virtual_clock import VirtualClock

    await bring(tmp_path, NetworkConfig("lab", NetworkMode.ISOLATED, "br-lab", vlan_filtering=True))
    network = HostNetwork(DefaultBridge(), VirtualClock())
    plugged = await network.plug(replace(card("vif1.0", bridge="br-lab"), vlan="10p/20-21"))
    shown = run("bridge", "vlan", "show", "dev", "vif1.0").split("\n", 1)[1].split()
    assert [word for word in shown if word.isdecimal()] == ["10", "20", "21"]
    await network.unplug(plugged)


@pytest.mark.testhost
async def test_a_network_on_a_tagged_uplink_sees_that_vlan_only(
    tagging: None, stack: ExitStack, tmp_path: Path
) -> None:
    switch = stack.enter_context(far_host("eth1"))
    for vlan in (10, 20):
        switch.run("ip", "link", "add", "link", "eth0", "name", f"v{vlan}", "type", "vlan", "id", str(vlan))
        switch.run("ip", "address", "add", f"10.{vlan}.0.1/24", "dev", f"v{vlan}")
        switch.run("ip", "link", "set", f"v{vlan}", "up")
    office = NetworkConfig("office", NetworkMode.BRIDGE, "br-office", uplink="eth1", vlan=10)
    await bring(tmp_path, office)
    guest = stack.enter_context(far_host("g-a", None, ("10.10.0.5/24", "10.20.0.5/24")))
    run("ip", "link", "set", "g-a", "master", "br-office")
    assert guest.pings("10.10.0.1")
    assert not guest.pings("10.20.0.1", tries=1)
