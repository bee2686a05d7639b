"""What every fabric promises (``ports.fabric``): one suite for the one in memory and this machine's kernel."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

import pytest

from wirt.model.errors import Unavailable
from wirt.model.network import DhcpRange, NetworkConfig, NetworkMode, Vxlan
from wirt.network.fabric import HostFabric
from wirt.network.fabric_fake import FakeFabric
from wirt.network.link_dump import all_links
from wirt.plan import networks_actions as actions
from wirt.plan.networks import FabricPlan, Wanted, device_mac, plan, watched
from wirt.plan.networks_services import Guest
from wirt.ports.fabric import Fabric

from .namespace import own_namespace, run

TAG = "feedbeef"


@dataclass
class World:
    fabric: Fabric

    async def bring(self, wanted: Wanted) -> FabricPlan:
        found = await self.planned(wanted)
        for action in found.actions:
            await self.fabric.apply(action)
        return found

    async def planned(self, wanted: Wanted) -> FabricPlan:
        devices = watched((*wanted.networks, *wanted.leaving), wanted.ports, wanted.tag)
        return plan(wanted, await self.fabric.observe(devices))


@asynccontextmanager
async def machine(directory: Path) -> AsyncIterator[World]:
    """Two cards, one of them the way out, in a network namespace of the test's own."""
    with own_namespace():
        run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far0")
        run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "far1")
        run("ip", "address", "add", "192.0.2.10/24", "dev", "eth0")
        for name in ("eth0", "far0", "eth1", "far1"):
            run("ip", "link", "set", name, "up")
        run("ip", "route", "add", "default", "via", "192.0.2.1")
        fabric = HostFabric(TAG, directory)
        yield World(fabric)
        for name in (await fabric.observe(frozenset())).servers:
            await fabric.apply(actions.StopServer(name))


@pytest.fixture(params=["fake", pytest.param("host", marks=pytest.mark.root)])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "fake":
        yield World(FakeFabric())
        return
    async with machine(tmp_path / "networks") as real:
        yield real


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[World]:
    """For what only a kernel and real programs can show."""
    async with machine(tmp_path / "networks") as real:
        yield real


def network(name: str, mode: NetworkMode, number: int, **more: object) -> NetworkConfig:
    address = IPv4Interface(f"10.{number}.0.1/24")
    values = {"address": address, "dhcp": DhcpRange(address.ip + 1, address.ip + 99), "dns": True, **more}
    return NetworkConfig(name, mode, f"br-{name}", **values)  # type: ignore[arg-type]


LAN = network("lan", NetworkMode.NAT, 5, address6=IPv6Interface("fd5a:1::1/64"), advertise=True, domain="lan")
ISO = network("iso", NetworkMode.ISOLATED, 6)
OUT = network("out", NetworkMode.ROUTED, 7, uplink="eth0")
WIDE = NetworkConfig("wide", NetworkMode.VXLAN, "br-wide", vxlan=Vxlan(7, "192.0.2.10", ("192.0.2.11",)), mtu=1450)
OFFICE = NetworkConfig("office", NetworkMode.BRIDGE, "br-office", uplink="eth1")
EACH = (LAN, ISO, OUT, WIDE, OFFICE)


@pytest.mark.parametrize("config", EACH, ids=lambda each: str(each.mode))
async def test_a_network_is_made_whole_and_leaves_nothing(world: World, config: NetworkConfig) -> None:
    before = await world.fabric.observe()
    await world.fabric.check(config)

    await world.bring(Wanted(TAG, (config,)))

    assert (await world.planned(Wanted(TAG, (config,)))).actions == ()
    state = await world.fabric.observe()
    bridge = state.links[config.bridge]
    assert (bridge.kind, bridge.up, bridge.mac) == ("bridge", True, device_mac(TAG, config.bridge))
    assert {each for each in (config.address, config.address6) if each} <= bridge.addresses

    await world.bring(Wanted(TAG, (), leaving=(config,)))

    after = await world.fabric.observe()
    assert set(after.links) == set(before.links)
    assert (after.rules, after.servers) == (None, {})
    assert after.sysctls == before.sysctls


async def test_all_modes_live_side_by_side(world: World) -> None:
    await world.bring(Wanted(TAG, EACH))
    left = await world.planned(Wanted(TAG, EACH))
    assert (left.actions, left.problems) == ((), ())


async def test_whatever_is_done_twice_is_done_once(world: World) -> None:
    found = await world.planned(Wanted(TAG, EACH))
    for action in (*found.actions, *found.actions):
        await world.fabric.apply(action)
    assert (await world.planned(Wanted(TAG, EACH))).actions == ()


async def test_a_check_leaves_no_trace(world: World) -> None:
    before = await world.fabric.observe()
    for config in EACH:
        await world.fabric.check(config)
    after = await world.fabric.observe()
    assert set(after.links) == set(before.links)


async def test_an_action_on_a_device_that_is_gone_says_so(world: World) -> None:
    with pytest.raises(Unavailable, match="no device br-none"):
        await world.fabric.apply(actions.SetUp("none", "br-none"))


async def test_a_device_of_the_same_name_that_is_anothers_is_not_removed(world: World) -> None:
    await world.fabric.apply(actions.AddBridge("x", "br-x", "02:00:00:00:00:01"))
    await world.fabric.apply(actions.DeleteDevice("x", "br-x", "02:00:00:00:00:02"))
    assert "br-x" in (await world.fabric.observe()).links
    await world.fabric.apply(actions.DeleteDevice("x", "br-x", "02:00:00:00:00:01"))
    assert "br-x" not in (await world.fabric.observe()).links
    await world.fabric.apply(actions.DeleteDevice("x", "br-x", "02:00:00:00:00:01"))


async def test_guests_are_told_to_the_server_that_runs(world: World) -> None:
    await world.bring(Wanted(TAG, (LAN,)))
    pid = (await world.fabric.observe()).servers["lan"].pid
    guest = Guest("lan", "web", "00:16:3e:00:00:01", ("10.5.0.20",))
    await world.bring(Wanted(TAG, (LAN,), guests=(guest,)))
    server = (await world.fabric.observe()).servers["lan"]
    assert server.pid == pid
    assert server.hosts.startswith("00:16:3e:00:00:01,10.5.0.20,web\n")


async def test_a_change_of_the_peers_changes_nothing_but_them_and_whom_the_rules_let_in(world: World) -> None:
    await world.bring(Wanted(TAG, (WIDE,)))
    assert WIDE.vxlan is not None
    other = replace(WIDE, vxlan=replace(WIDE.vxlan, peers=("192.0.2.12", "192.0.2.13")))
    found = await world.bring(Wanted(TAG, (other,)))
    changed = {type(action) for action in found.actions}
    assert changed == {actions.AddPeer, actions.RemovePeer, actions.SetRules}
    assert (await world.planned(Wanted(TAG, (other,)))).actions == ()


@pytest.mark.parametrize(
    "harm",
    [
        ("ip", "link", "delete", "br-lan"),
        ("ip", "address", "flush", "dev", "br-lan"),
        ("ip", "link", "set", "br-lan", "down"),
        ("nft", "flush", "ruleset"),
        ("nft", "flush", "chain", "inet", f"wirt-networks-{TAG}", "forward"),
        ("sh", "-c", "echo 0 > /proc/sys/net/ipv4/conf/br-lan/forwarding"),
        ("sh", "-c", "echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding"),
        ("ip", "link", "set", "vx-wide", "nomaster"),
        ("bridge", "fdb", "delete", "00:00:00:00:00:00", "dev", "vx-wide", "dst", "192.0.2.11"),
        ("ip", "link", "delete", "vx-wide"),
        ("ip", "link", "set", "eth1", "nomaster"),
    ],
    ids=" ".join,
)
@pytest.mark.root
async def test_what_was_harmed_by_hand_is_noticed_and_mended(host: World, harm: tuple[str, ...]) -> None:
    await host.bring(Wanted(TAG, EACH))
    run(*harm)

    found = await host.bring(Wanted(TAG, EACH))

    assert found.actions
    assert (await host.planned(Wanted(TAG, EACH))).actions == ()


@pytest.mark.root
async def test_a_server_that_was_killed_is_started_again_and_there_is_one(host: World) -> None:
    await host.bring(Wanted(TAG, (LAN,)))
    pid = (await host.fabric.observe()).servers["lan"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while (await host.fabric.observe(frozenset())).servers["lan"].pid is not None:
        await asyncio.sleep(0.01)

    await host.bring(Wanted(TAG, (LAN,)))

    again = (await host.fabric.observe()).servers["lan"].pid
    assert again not in (None, pid)
    assert servers_of(host, "lan") == {again}


@pytest.mark.root
async def test_a_server_whose_record_was_lost_is_not_joined_by_a_second(host: World, tmp_path: Path) -> None:
    await host.bring(Wanted(TAG, (LAN,)))
    (tmp_path / "networks" / "lan" / "server.json").unlink()

    await host.bring(Wanted(TAG, (LAN,)))

    assert servers_of(host, "lan") == {(await host.fabric.observe()).servers["lan"].pid}


@pytest.mark.root
async def test_another_daemon_knows_the_server_again(host: World, tmp_path: Path) -> None:
    await host.bring(Wanted(TAG, (LAN,)))
    later = World(HostFabric(TAG, tmp_path / "networks"))
    assert (await later.planned(Wanted(TAG, (LAN,)))).actions == ()
    await later.bring(Wanted(TAG, (), leaving=(LAN,)))
    assert servers_of(host, "lan") == set()


@pytest.mark.root
async def test_a_server_owns_nothing_and_can_gain_nothing(host: World) -> None:
    await host.bring(Wanted(TAG, (LAN,)))
    pid = (await host.fabric.observe()).servers["lan"].pid
    status = dict(
        line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert "0" not in status["Uid"].split()
    assert status["NoNewPrivs"] == "1"
    network_only = 1 << 10 | 1 << 12 | 1 << 13  # capabilities(7): NET_BIND_SERVICE, NET_ADMIN, NET_RAW
    assert int(status["CapEff"], 16) & ~network_only == 0
    assert int(status["CapBnd"], 16) & ~(network_only | 1 << 6 | 1 << 7) == 0
    assert status["CapInh"] == status["CapAmb"] == "0" * 16


@pytest.mark.root
async def test_a_server_that_can_not_start_says_why_and_is_not_left_half_there(host: World) -> None:
    with pytest.raises(Unavailable, match=r"bad option at line 1 of /mnt/dnsmasq\.conf"):
        await host.fabric.apply(actions.StartServer("bad", "eth0", "no-such-option\n", "\n"))
    assert servers_of(host, "bad") == set()


@pytest.mark.root
async def test_two_homes_in_one_host_leave_each_other_alone(host: World, tmp_path: Path) -> None:
    neighbour = World(HostFabric("0badcafe", tmp_path / "other"))
    other = network("lan2", NetworkMode.NAT, 8)
    try:
        await host.bring(Wanted(TAG, (LAN,)))
        await neighbour.bring(Wanted("0badcafe", (other,)))
        assert (await host.planned(Wanted(TAG, (LAN,)))).actions == ()
        await host.bring(Wanted(TAG, (), leaving=(LAN,)))
        left = await neighbour.planned(Wanted("0badcafe", (other,)))
        # The way out was both homes'; the one that stays switches it on again.
        assert {str(action) for action in left.actions} <= {"set net.ipv4.conf.eth0.forwarding to 1"}
    finally:
        await neighbour.bring(Wanted("0badcafe", (), leaving=(other,)))


@pytest.mark.root
async def test_a_change_in_the_kernel_is_told(host: World) -> None:
    changes = host.fabric.changes()
    first = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    run("ip", "link", "add", "br-new", "type", "bridge")
    await asyncio.wait_for(first, 10)
    with suppress(RuntimeError):
        await changes.aclose()  # type: ignore[attr-defined]


@pytest.mark.root
async def test_a_kernel_that_lacks_vlans_is_told_before_anything_is_made(host: World) -> None:
    tagged = NetworkConfig("v", NetworkMode.BRIDGE, "br-v", uplink="eth1", vlan=10)
    before = set((await host.fabric.observe()).links)
    try:
        await host.fabric.check(tagged)
    except Unavailable as lacking:
        assert "kind vlan" in lacking.message
        assert lacking.hint == "modprobe 8021q"
    assert set((await host.fabric.observe()).links) == before


def servers_of(world: World, name: str) -> set[int]:
    mark = f"/networks/{name}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                environ = (entry / "environ").read_bytes()
                if b"SERVER_OF_WIRT_NETWORK=" in environ and mark in environ and _same_network(entry):
                    found.add(int(entry.name))
    return found


def _same_network(entry: Path) -> bool:
    return (entry / "ns/net").readlink() == Path("/proc/thread-self/ns/net").readlink()


@pytest.mark.root
async def test_a_glance_at_all_devices_sees_what_a_long_look_sees(host: World) -> None:
    await host.bring(Wanted(TAG, EACH))
    run("ip", "tuntap", "add", "tap0", "mode", "tap")
    run("ip", "link", "set", "tap0", "master", "br-lan", "up")
    seen = all_links()
    for name, link in (await host.fabric.observe()).links.items():
        glance = seen[name]
        same = (glance.index, glance.kind, glance.mac, glance.up, glance.mtu, glance.master)
        assert same == (link.index, link.kind, link.mac, link.up, link.mtu, link.master)
    assert (seen["tap0"].kind, seen["tap0"].master) == ("tun", "br-lan")


@pytest.mark.root
async def test_hundreds_of_taps_are_seen(host: World, tmp_path: Path) -> None:
    names = {f"tap{number}" for number in range(300)}
    batch = tmp_path / "batch"
    batch.write_text("".join(f"tuntap add {name} mode tap\n" for name in sorted(names)))
    run("ip", "-batch", str(batch))
    assert names <= set(all_links())
    assert set((await host.fabric.observe(frozenset(names))).links) >= names
