"""What a guest says about itself is true, or nobody hears it.

Each attempt is made twice: with ``antispoof=0`` it must arrive, which proves that the test would see it.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from wirt.model.devices import Rate
from wirt.network import HostNetwork
from wirt.plan.filters_spoof import link_local
from wirt.plan.nics import NicPlan
from wirt.ports.network import Plugged

from . import packets as p
from .frames import received, send
from .namespace import run
from .worlds import card, devices

pytestmark = pytest.mark.root

ANNA, BERT, OTHER = "00:16:3e:00:00:01", "00:16:3e:00:00:02", "00:16:3e:00:00:99"
ANNA4, BERT4, OTHER4 = "10.219.0.11", "10.219.0.12", "10.219.0.99"
ANNA6, BERT6, OTHER6 = "2001:db8::11", "2001:db8::12", "2001:db8::99"
LOCAL, OTHER_LOCAL = str(link_local(ANNA)), str(link_local(OTHER))
MARK = b"the mark of this test"
END = b"the end of this test"


def anna(*, pinned: bool = True, antispoof: bool = True, trunk: bool = False) -> NicPlan:
    nic = card("vif1.0", mac=ANNA)
    addresses = (ANNA4, ANNA6) if pinned else ()
    return replace(nic, policy=replace(nic.policy, addresses=addresses, antispoof=antispoof, trunk=trunk))


@pytest.fixture
async def bert(network: HostNetwork) -> AsyncIterator[Plugged]:
    nic = card("vif2.0", mac=BERT)
    plugged = await network.plug(replace(nic, policy=replace(nic.policy, antispoof=False)))
    yield plugged
    await network.unplug(plugged)


async def arrives(network: HostNetwork, sender: NicPlan, bert: Plugged, frame: bytes) -> bool:
    """Whether Bert gets ``frame``, sent before one that he surely gets: he has not to be waited for in vain."""
    plugged = await network.plug(sender)
    assert plugged.descriptor is not None and bert.descriptor is not None
    send(plugged.descriptor, frame)
    send(plugged.descriptor, p.ether(BERT, ANNA, p.IP, p.udp(ANNA4, 9, BERT4, 9, END)))
    frames = received(bert.descriptor, 2, until=END)
    await network.unplug(plugged)
    assert any(END in each for each in frames), "not even an honest frame arrives"
    return any(each[: len(frame)].rstrip(b"\0") == frame.rstrip(b"\0") for each in frames)


def honest(payload: bytes, kind: int = p.IP) -> bytes:
    return p.ether(BERT, ANNA, kind, payload)


RARP = 0x8035
ALWAYS = {
    "a frame from another MAC": p.ether(BERT, OTHER, p.IP, p.udp(ANNA4, 5, BERT4, 5, MARK)),
    "an ARP answer with another MAC": p.ether(p.BROADCAST, ANNA, p.ARP, p.arp(2, OTHER, ANNA4, BERT4)),
    "reverse ARP": p.ether(p.BROADCAST, ANNA, p.ARP, p.arp(4, ANNA, ANNA4, BERT4)),
    "another's announcement": p.ether(p.BROADCAST, ANNA, RARP, p.arp(3, OTHER, "0.0.0.0", "0.0.0.0", OTHER)),
    "an announcement for another": p.ether(p.BROADCAST, ANNA, RARP, p.arp(3, ANNA, "0.0.0.0", "0.0.0.0", OTHER)),
    "an answer of reverse ARP": p.ether(p.BROADCAST, ANNA, RARP, p.arp(4, ANNA, ANNA4, BERT4, ANNA)),
    "a frame with a VLAN tag": p.tagged(honest(p.udp(ANNA4, 5, BERT4, 5, MARK)), 7),
    "a frame with a service tag": p.tagged(honest(p.udp(ANNA4, 5, BERT4, 5, MARK)), 7, 0x88A8),
    "a frame with tag 0": p.tagged(honest(p.udp(ANNA4, 5, BERT4, 5, MARK)), 0),
    "a frame with two tags": p.tagged(p.tagged(honest(p.udp(ANNA4, 5, BERT4, 5, MARK)), 7), 8),
    "an offer of a DHCP server": honest(p.udp(ANNA4, 67, "255.255.255.255", 68, p.bootp(BERT, 2))),
    "an offer of a DHCP server from another port": honest(p.udp(ANNA4, 999, BERT4, 68, p.bootp(BERT, 2))),
    "a first fragment of a DHCP server's offer": honest(
        p.ip(ANNA4, BERT4, p.UDP, b"\0\x43\0\x44\x01\0\0\0" + bytes(32), more=True)
    ),
    "a request by DHCP for another card": honest(p.udp("0.0.0.0", 68, "255.255.255.255", 67, p.bootp(OTHER, 1))),
    "an answer of a DHCPv6 server": honest(p.ip(LOCAL, BERT6, p.UDP, b"\x02\x23\x02\x22\0\x08\0\0"), p.IP6),
    "a router advertisement": honest(p.icmp6(LOCAL, "ff02::1", 134, bytes(12)), p.IP6),
    "a fragmented router advertisement": honest(
        p.ip(LOCAL, "ff02::1", p.ICMP6, b"\x86\0\0\0" + bytes(20), more=True), p.IP6
    ),
    "a first fragment without a transport header": honest(p.ip(LOCAL, "ff02::1", p.ICMP6, b"", more=True), p.IP6),
    "a router advertisement behind an extension header": honest(
        p.ip(LOCAL, "ff02::1", 60, bytes((p.ICMP6, 0, 1, 4, 0, 0, 0, 0, 134)) + bytes(15)), p.IP6
    ),
    "a redirect": honest(p.icmp6(LOCAL, BERT6, 137, bytes(36)), p.IP6),
    "a question of a multicast router": honest(p.ip(ANNA4, "224.0.0.1", 2, b"\x11\0\xee\xff\0\0\0\0"), p.IP),
    "an advertisement with another MAC": honest(p.advert(LOCAL, LOCAL, p.option(2, OTHER)), p.IP6),
    "an advertisement with the MAC behind another option": honest(
        p.advert(LOCAL, LOCAL, p.option(14, ANNA) + p.option(2, OTHER)), p.IP6
    ),
    "a solicitation with another MAC": honest(p.solicit(LOCAL, BERT6, p.option(1, OTHER)), p.IP6),
    "a router's solicitation with another MAC": honest(
        p.icmp6(LOCAL, "ff02::2", 133, bytes(4) + p.option(1, OTHER)), p.IP6
    ),
    "an advertisement behind an extension header": honest(
        p.ip(LOCAL, "ff02::1", 60, bytes((p.ICMP6, 0, 1, 4, 0, 0, 0, 0, 136)) + bytes(23)), p.IP6
    ),
}

WITH_ADDRESSES = {
    "an ARP answer for another address": p.ether(p.BROADCAST, ANNA, p.ARP, p.arp(2, ANNA, OTHER4, BERT4)),
    "a gratuitous ARP for another address": p.ether(p.BROADCAST, ANNA, p.ARP, p.arp(1, ANNA, OTHER4, OTHER4)),
    "IPv4 from another address": honest(p.udp(OTHER4, 5, BERT4, 5, MARK)),
    "IPv4 from no address, not asking for one": honest(p.udp("0.0.0.0", 5, "255.255.255.255", 5, MARK)),
    "a later fragment from another address": honest(p.ip(OTHER4, BERT4, p.UDP, MARK, offset=64)),
    "IPv6 from another address": honest(p.udp(OTHER6, 5, BERT6, 5, MARK), p.IP6),
    "IPv6 from another link-local address": honest(p.udp(OTHER_LOCAL, 5, BERT6, 5, MARK), p.IP6),
    "an advertisement of another address": honest(p.advert(LOCAL, OTHER6, p.option(2, ANNA)), p.IP6),
    "an advertisement of another address without option": honest(p.advert(LOCAL, OTHER6), p.IP6),
    "a protocol that is not IP": honest(MARK, 0x88B5),
    "a frame of IEEE 802.3": honest(b"\xaa\xaa\x03" + MARK, 40),
}

CONTROL = {
    "a spanning tree's": p.ether("01:80:c2:00:00:00", ANNA, 38, b"\x42\x42\x03" + bytes(35)),
    "Cisco's spanning tree's": p.ether("01:00:0c:cc:cc:cd", ANNA, 50, b"\xaa\xaa\x03" + MARK),
    "Cisco's discovery's": p.ether("01:00:0c:cc:cc:cc", ANNA, 50, b"\xaa\xaa\x03" + MARK),
}

HONEST = {
    "UDP": honest(p.udp(ANNA4, 5, BERT4, 5, MARK)),
    "TCP": honest(p.tcp(ANNA4, 5, BERT4, 5, p.SYN)),
    "a ping": honest(p.ping(ANNA4, BERT4)),
    "IPv6": honest(p.udp(ANNA6, 5, BERT6, 5, MARK), p.IP6),
    "IPv6 from the link-local address": honest(p.ping(LOCAL, BERT6), p.IP6),
    "a fragment": honest(p.ip(ANNA4, BERT4, p.UDP, MARK, offset=64)),
    "a first fragment of IPv6": honest(p.ip(ANNA6, BERT6, p.UDP, b"\0\5\0\5\0\x40\0\0" + MARK, more=True), p.IP6),
    "a later fragment of IPv6": honest(p.ip(ANNA6, BERT6, p.UDP, MARK, offset=64), p.IP6),
    "its announcement after a move": p.ether(p.BROADCAST, ANNA, RARP, p.arp(3, ANNA, "0.0.0.0", "0.0.0.0", ANNA)),
    "an ARP question": p.ether(p.BROADCAST, ANNA, p.ARP, p.arp(1, ANNA, ANNA4, BERT4)),
    "an ARP answer": p.ether(BERT, ANNA, p.ARP, p.arp(2, ANNA, ANNA4, BERT4, BERT)),
    "an ARP probe": p.ether(p.BROADCAST, ANNA, p.ARP, p.arp(1, ANNA, "0.0.0.0", ANNA4)),
    "a question for an address by DHCP": honest(p.udp("0.0.0.0", 68, "255.255.255.255", 67, p.bootp(ANNA, 1))),
    "a report of a multicast group": honest(p.ip(ANNA4, "224.0.0.251", 2, b"\x16\0\x09\x04\xe0\0\0\xfb")),
    "duplicate address detection": honest(p.solicit("::", ANNA6), p.IP6),
    "duplicate address detection with a nonce": honest(p.solicit("::", ANNA6, b"\x0e\x01abcdef"), p.IP6),
    "a neighbour's solicitation": honest(p.solicit(LOCAL, BERT6, p.option(1, ANNA)), p.IP6),
    "a neighbour's advertisement": honest(p.advert(ANNA6, ANNA6, p.option(2, ANNA)), p.IP6),
    "an advertisement without option": honest(p.advert(LOCAL, LOCAL), p.IP6),
    "a router's solicitation": honest(p.icmp6(LOCAL, "ff02::2", 133, bytes(4) + p.option(1, ANNA)), p.IP6),
    "a router's solicitation from no address": honest(p.icmp6("::", "ff02::2", 133, bytes(4)), p.IP6),
}


@pytest.mark.parametrize("pinned", [True, False], ids=["ip=", "any ip"])
@pytest.mark.parametrize("lie", ALWAYS)
async def test_a_lie_does_not_arrive(network: HostNetwork, bert: Plugged, lie: str, pinned: bool) -> None:
    assert await arrives(network, anna(antispoof=False), bert, ALWAYS[lie])
    assert not await arrives(network, anna(pinned=pinned), bert, ALWAYS[lie])


@pytest.mark.parametrize("lie", WITH_ADDRESSES)
async def test_a_lie_about_addresses_does_not_arrive_where_they_are_given(
    network: HostNetwork, bert: Plugged, lie: str
) -> None:
    assert await arrives(network, anna(antispoof=False), bert, WITH_ADDRESSES[lie])
    assert await arrives(network, anna(pinned=False), bert, WITH_ADDRESSES[lie])
    assert not await arrives(network, anna(), bert, WITH_ADDRESSES[lie])


@pytest.mark.parametrize("pinned", [True, False], ids=["ip=", "any ip"])
@pytest.mark.parametrize("truth", HONEST)
async def test_the_truth_arrives(network: HostNetwork, bert: Plugged, truth: str, pinned: bool) -> None:
    assert await arrives(network, anna(pinned=pinned), bert, HONEST[truth])


@pytest.mark.parametrize("antispoof", [True, False])
@pytest.mark.parametrize("kind", CONTROL)
async def test_a_frame_that_steers_bridges_never_leaves_a_guest(
    network: HostNetwork, bert: Plugged, kind: str, antispoof: bool
) -> None:
    assert bert.descriptor is not None
    assert not await arrives(network, anna(pinned=False, antispoof=antispoof), bert, CONTROL[kind])


async def test_a_frame_that_steers_bridges_would_arrive_without_rules(network: HostNetwork, bert: Plugged) -> None:
    plugged = await network.plug(anna(antispoof=False))
    assert plugged.descriptor is not None and bert.descriptor is not None
    run("nft", "flush", "ruleset")
    send(plugged.descriptor, CONTROL["a spanning tree's"])
    assert CONTROL["a spanning tree's"] in received(bert.descriptor, 2, until=CONTROL["a spanning tree's"])
    await network.unplug(plugged)


@pytest.mark.parametrize("rate", [None, Rate(10_000_000)], ids=["unlimited", "rate="])
async def test_no_address_of_the_bridges_own_is_a_way_around_the_filter(
    network: HostNetwork, rate: Rate | None
) -> None:
    """What is sent to LLDP's address a bridge hands to the host as the tap's own, past all its hooks; and UDP to
    the host in such a frame is received by it."""
    nic = anna()
    plugged = await network.plug(replace(nic, policy=replace(nic.policy, rate_out=rate)))
    assert plugged.descriptor is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host:
        host.bind(("0.0.0.0", 4789))
        host.settimeout(0.3)
        frame = p.ether("01:80:c2:00:00:0e", ANNA, p.IP, p.udp(ANNA4, 5, "10.219.0.1", 4789, MARK))
        send(plugged.descriptor, frame)
        with pytest.raises(TimeoutError):
            host.recv(2048)
        run("ip", "neighbour", "replace", ANNA4, "lladdr", ANNA, "dev", "wirtbr0")
        mac = devices()["wirtbr0"]["address"]
        send(plugged.descriptor, p.ether(mac, ANNA, p.IP, p.udp(ANNA4, 5, "10.219.0.1", 4789, MARK)))
        host.settimeout(3)
        assert host.recv(2048) == MARK, "not even an honest packet reaches the host"
    await network.unplug(plugged)


async def test_the_host_hears_no_lie_either(network: HostNetwork) -> None:
    plugged = await network.plug(anna())
    assert plugged.descriptor is not None
    mac = devices()["wirtbr0"]["address"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host:
        host.bind(("10.219.0.1", 0))
        host.settimeout(3)
        port = host.getsockname()[1]
        for source in (OTHER4, ANNA4):
            send(plugged.descriptor, p.ether(mac, ANNA, p.IP, p.udp(source, 5, "10.219.0.1", port, MARK)))
        assert host.recvfrom(2048)[1][0] == ANNA4
    await network.unplug(plugged)


async def test_a_trunk_may_send_one_tag_and_no_lie_behind_it(network: HostNetwork, bert: Plugged) -> None:
    truth, lie = honest(p.udp(ANNA4, 5, BERT4, 5, MARK)), honest(p.udp(OTHER4, 5, BERT4, 5, MARK))

    assert await _marked(network, anna(trunk=True), bert, p.tagged(truth, 7))
    assert not await _marked(network, anna(trunk=True), bert, p.tagged(lie, 7))
    assert not await _marked(network, anna(trunk=True), bert, p.tagged(p.tagged(truth, 7), 8))


async def _marked(network: HostNetwork, sender: NicPlan, bert: Plugged, frame: bytes) -> bool:
    plugged = await network.plug(sender)
    assert plugged.descriptor is not None and bert.descriptor is not None
    send(plugged.descriptor, frame)
    send(plugged.descriptor, honest(p.udp(ANNA4, 9, BERT4, 9, END)))
    frames = received(bert.descriptor, 2, until=END)
    await network.unplug(plugged)
    assert any(END in each for each in frames)
    return any(MARK in each for each in frames)
