"""Security groups let in and out what they allow, and answers, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from wirt.model.errors import NotFound
from wirt.model.security import Allow, Direction, PortRange, Protocol, SecurityGroup
from wirt.network import HostNetwork
from wirt.ports.network import Plugged

from . import packets as p
from .frames import received, send
from .namespace import run
from .worlds import card

pytestmark = pytest.mark.root

ANNA, BERT, CARL = "00:16:3e:00:00:01", "00:16:3e:00:00:02", "00:16:3e:00:00:03"
A4, B4, C4 = "10.219.0.11", "10.219.0.12", "10.219.0.13"
A6, B6 = "2001:db8::11", "2001:db8::12"

WEB = SecurityGroup("web", (Allow(Direction.IN, Protocol.TCP, (PortRange(80, 80), PortRange(8000, 8100))),))
CLOSED = SecurityGroup("closed")
OUT = SecurityGroup("out", (Allow(Direction.OUT, Protocol.UDP, (PortRange(53, 53),)),))
NEAR = SecurityGroup("near", (Allow(Direction.IN, peers=(f"{B4}/32", "2001:db8::12/128")),))
PING = SecurityGroup("ping", (Allow(Direction.IN, Protocol.ICMP),))
PEERS = SecurityGroup("peers", (Allow(Direction.IN, group="peers"),))
ALL = (WEB, CLOSED, OUT, NEAR, PING, PEERS)
END = b"the end of this test"


class Guests:
    """Anna in groups; Bert and Carl, who say what they like."""

    def __init__(self, network: HostNetwork, anna: Plugged, others: dict[str, Plugged]) -> None:
        self.network = network
        self.anna = anna
        self.others = others

    def heard_by_anna(self, packet: bytes, *, sender: str = BERT, version: int = p.IP) -> bool:
        """The end comes by ARP, which passes always."""
        assert self.anna.descriptor is not None
        other = self.others[sender].descriptor
        assert other is not None
        frame = p.ether(ANNA, sender, version, packet)
        end = p.ether(ANNA, sender, p.ARP, p.arp(2, sender, B4, A4, ANNA) + END)
        send(other, frame)
        send(other, end)
        return _heard(self.anna.descriptor, frame)

    def heard_from_anna(self, packet: bytes, *, version: int = p.IP) -> bool:
        bert = self.others[BERT].descriptor
        assert self.anna.descriptor is not None and bert is not None
        frame = p.ether(BERT, ANNA, version, packet)
        send(self.anna.descriptor, frame)
        send(self.anna.descriptor, p.ether(BERT, ANNA, p.ARP, p.arp(2, ANNA, A4, B4, BERT) + END))
        return _heard(bert, frame)


def _heard(descriptor: int, frame: bytes) -> bool:
    frames = received(descriptor, 2, until=END)
    assert any(END in each for each in frames), "not even the end arrives"
    return any(each.rstrip(b"\0") == frame.rstrip(b"\0") for each in frames)


@asynccontextmanager
async def guests(network: HostNetwork, *groups: str, peers: str | None = None) -> AsyncIterator[Guests]:
    await network.set_groups(ALL)
    nic = card("vif1.0", mac=ANNA)
    anna = await network.plug(replace(nic, policy=replace(nic.policy, addresses=(A4, A6), groups=groups)))
    others = {}
    for number, mac in ((2, BERT), (3, CARL)):
        nic = card(f"vif{number}.0", mac=mac)
        in_groups = (peers,) if peers is not None and mac == BERT else ()
        others[mac] = await network.plug(replace(nic, policy=replace(nic.policy, groups=in_groups)))
    yield Guests(network, anna, others)
    for plugged in (anna, *others.values()):
        await network.unplug(plugged)


async def test_only_allowed_ports_are_reached(network: HostNetwork) -> None:
    async with guests(network, "web") as all_:
        assert all_.heard_by_anna(p.tcp(B4, 999, A4, 80, p.SYN))
        assert all_.heard_by_anna(p.tcp(B4, 999, A4, 8050, p.SYN))
        assert all_.heard_by_anna(p.tcp(B6, 999, A6, 80, p.SYN), version=p.IP6)
        assert not all_.heard_by_anna(p.tcp(B4, 999, A4, 81, p.SYN))
        assert not all_.heard_by_anna(p.tcp(B6, 999, A6, 22, p.SYN), version=p.IP6)
        assert not all_.heard_by_anna(p.udp(B4, 999, A4, 80, b"x"))
        assert not all_.heard_by_anna(p.ping(B4, A4))


async def test_a_card_in_no_group_is_reached_by_all(network: HostNetwork) -> None:
    async with guests(network) as all_:
        assert all_.heard_by_anna(p.tcp(B4, 999, A4, 81, p.SYN))
        assert all_.heard_by_anna(p.udp(B4, 999, A4, 80, b"x"))


@pytest.mark.parametrize("flags", [p.ACK, p.ACK | p.PSH, p.SYN | p.ACK, p.RST, p.FIN | p.ACK])
async def test_a_segment_that_answers_nothing_is_not_taken_for_an_answer(network: HostNetwork, flags: int) -> None:
    async with guests(network, "closed") as all_:
        assert not all_.heard_by_anna(p.tcp(B4, 80, A4, 999, flags))


@pytest.mark.parametrize("version", [p.IP, p.IP6], ids=["ip", "ip6"])
async def test_answers_to_what_the_guest_sent_come_in_and_from_nobody_else(
    network: HostNetwork, version: int
) -> None:
    here, there = (A4, B4) if version == p.IP else (A6, B6)
    async with guests(network, "closed") as all_:
        assert all_.heard_from_anna(p.tcp(here, 999, there, 80, p.SYN), version=version)
        assert all_.heard_by_anna(p.tcp(there, 80, here, 999, p.SYN | p.ACK), version=version)
        assert all_.heard_by_anna(p.tcp(there, 80, here, 999, p.ACK | p.PSH, b"hello"), version=version)
        assert not all_.heard_by_anna(p.tcp(there, 81, here, 999, p.ACK), version=version)
        assert not all_.heard_by_anna(p.tcp(there, 80, here, 998, p.ACK), version=version)
        assert all_.heard_from_anna(p.udp(here, 999, there, 53, b"?"), version=version)
        assert all_.heard_by_anna(p.udp(there, 53, here, 999, b"!"), version=version)
        assert not all_.heard_by_anna(p.udp(there, 54, here, 999, b"!"), version=version)
        assert not all_.heard_by_anna(p.ping(there, here, answer=True), version=version)
        assert all_.heard_from_anna(p.ping(here, there), version=version)
        assert all_.heard_by_anna(p.ping(there, here, answer=True), version=version)
        assert not all_.heard_by_anna(p.ping(there, here), version=version)


async def test_a_connection_that_was_open_before_the_rules_goes_on_with_its_guests_next_segment(
    network: HostNetwork,
) -> None:
    async with guests(network, "closed") as all_:
        assert not all_.heard_by_anna(p.tcp(B4, 80, A4, 999, p.ACK))
        assert all_.heard_from_anna(p.tcp(A4, 999, B4, 80, p.ACK))
        assert all_.heard_by_anna(p.tcp(B4, 80, A4, 999, p.ACK))


async def test_what_every_network_needs_comes_in_always(network: HostNetwork) -> None:
    async with guests(network, "closed") as all_:
        assert all_.heard_by_anna(p.ip(B4, A4, p.ICMP, b"\x03\x04" + bytes(30)))
        assert all_.heard_by_anna(p.icmp6(B6, A6, 2, bytes(40)), version=p.IP6)
        assert all_.heard_by_anna(p.solicit(B6, A6, p.option(1, BERT)), version=p.IP6)
        assert not all_.heard_by_anna(b"not IP", version=0x88B5)


async def test_fragments_follow_their_first_and_do_not_come_without_it(network: HostNetwork) -> None:
    first = p.ip(B4, A4, p.TCP, p.tcp(B4, 9, A4, 80, p.ACK, bytes(44))[20:], more=True)
    refused = p.ip(B4, A4, p.TCP, p.tcp(B4, 9, A4, 81, p.ACK, bytes(44))[20:], more=True)
    later = p.ip(B4, A4, p.TCP, b"the rest", offset=64)
    overwriting = p.ip(B4, A4, p.TCP, b"the rest", offset=8)
    async with guests(network, "web") as all_:
        assert not all_.heard_by_anna(later)
        assert not all_.heard_by_anna(refused)
        assert not all_.heard_by_anna(later)
        assert all_.heard_by_anna(first)
        assert all_.heard_by_anna(later)
        assert not all_.heard_by_anna(overwriting)


async def test_fragments_of_what_the_guest_sends_go_out(network: HostNetwork) -> None:
    async with guests(network, "closed") as all_:
        assert all_.heard_from_anna(p.ip(A4, B4, p.UDP, b"\0\x09\0\x09\x01\0\0\0" + bytes(56), more=True))
        assert all_.heard_from_anna(p.ip(A4, B4, p.UDP, b"the rest", offset=64))


async def test_with_a_rule_for_it_nothing_else_goes_out(network: HostNetwork) -> None:
    async with guests(network, "web", "out") as all_:
        assert all_.heard_from_anna(p.udp(A4, 999, B4, 53, b"?"))
        assert all_.heard_by_anna(p.udp(B4, 53, A4, 999, b"!"))
        assert not all_.heard_from_anna(p.udp(A4, 999, B4, 54, b"?"))
        assert not all_.heard_from_anna(p.tcp(A4, 999, B4, 53, p.SYN))
        assert not all_.heard_from_anna(p.ping(A4, B4))
        assert all_.heard_from_anna(p.udp("0.0.0.0", 68, "255.255.255.255", 67, p.bootp(ANNA, 1)))


async def test_answers_to_what_was_let_in_go_out_and_only_those(network: HostNetwork) -> None:
    async with guests(network, "web", "out", "ping") as all_:
        assert not all_.heard_from_anna(p.tcp(A4, 80, B4, 999, p.SYN | p.ACK))
        assert all_.heard_by_anna(p.tcp(B4, 999, A4, 80, p.SYN))
        assert all_.heard_from_anna(p.tcp(A4, 80, B4, 999, p.SYN | p.ACK))
        assert not all_.heard_from_anna(p.tcp(A4, 80, B4, 998, p.ACK))
        assert not all_.heard_from_anna(p.ping(A4, B4, answer=True))
        assert all_.heard_by_anna(p.ping(B4, A4))
        assert all_.heard_from_anna(p.ping(A4, B4, answer=True))


async def test_a_rule_for_networks_lets_in_those(network: HostNetwork) -> None:
    async with guests(network, "near") as all_:
        assert all_.heard_by_anna(p.tcp(B4, 9, A4, 22, p.SYN))
        assert all_.heard_by_anna(p.udp(B6, 9, A6, 22, b"x"), version=p.IP6)
        assert not all_.heard_by_anna(p.tcp(C4, 9, A4, 22, p.SYN), sender=CARL)


async def test_a_rule_for_a_group_lets_in_its_members(network: HostNetwork) -> None:
    async with guests(network, "peers", peers="peers") as all_:
        assert all_.heard_by_anna(p.tcp(B4, 9, A4, 22, p.SYN))
        assert not all_.heard_by_anna(p.tcp(C4, 9, A4, 22, p.SYN), sender=CARL)
        await network.unplug(all_.others[BERT])
        nic = card("vif2.0", mac=BERT)
        all_.others[BERT] = await network.plug(nic)
        assert not all_.heard_by_anna(p.tcp(B4, 9, A4, 22, p.SYN)), "it is a member no more"


async def test_a_change_of_groups_is_in_force_at_once_and_ends_no_connection(network: HostNetwork) -> None:
    async with guests(network, "web") as all_:
        assert all_.heard_from_anna(p.tcp(A4, 999, B4, 22, p.SYN))
        assert not all_.heard_by_anna(p.tcp(B4, 9, A4, 443, p.SYN))

        more = SecurityGroup("web", (Allow(Direction.IN, Protocol.TCP, (PortRange(443, 443),)),))
        await network.set_groups([more if group.name == "web" else group for group in ALL])

        assert all_.heard_by_anna(p.tcp(B4, 9, A4, 443, p.SYN))
        assert not all_.heard_by_anna(p.tcp(B4, 9, A4, 80, p.SYN))
        assert all_.heard_by_anna(p.tcp(B4, 22, A4, 999, p.SYN | p.ACK))
        with pytest.raises(NotFound, match="no security group web"):
            await network.set_groups([CLOSED])
        assert all_.heard_by_anna(p.tcp(B4, 9, A4, 443, p.SYN))


async def test_a_running_card_can_change_its_groups(network: HostNetwork) -> None:
    async with guests(network) as all_:
        assert all_.heard_by_anna(p.udp(B4, 9, A4, 9, b"x"))
        await network.set_policy("vif1.0", replace(all_.anna.nic.policy, groups=("web",)))
        assert not all_.heard_by_anna(p.udp(B4, 9, A4, 9, b"x"))
        await network.set_policy("vif1.0", all_.anna.nic.policy)
        assert all_.heard_by_anna(p.udp(B4, 9, A4, 9, b"x"))


def learned(name: str) -> list[list[object]]:
    """The entries of a set that traffic fills, without the device that each begins with."""
    listed = json.loads(run("nft", "-j", "list", "set", "bridge", "wirt", name))["nftables"]
    (table,) = (entry["set"] for entry in listed if "set" in entry)
    return [each["elem"]["val"]["concat"][1:] for each in table.get("elem", ())]


@pytest.mark.parametrize("flags", [p.FIN | p.ACK, p.RST, p.FIN | p.PSH | p.ACK])
async def test_an_answered_connection_is_remembered_for_hours_and_a_closed_one_for_minutes(
    network: HostNetwork, flags: int
) -> None:
    flow = [A4, 999, B4, 80]
    async with guests(network, "closed") as all_:
        for _ in range(2):  # once closed, it may be opened again
            assert all_.heard_from_anna(p.tcp(A4, 999, B4, 80, p.SYN))
            assert (learned("opened-tcp4"), learned("opened-tcp4-long")) == ([flow], [])
            assert all_.heard_by_anna(p.tcp(B4, 80, A4, 999, p.SYN | p.ACK))
            assert learned("opened-tcp4-long") == [flow]
            assert all_.heard_from_anna(p.tcp(A4, 999, B4, 80, flags))
            assert (learned("opened-tcp4"), learned("opened-tcp4-long")) == ([flow], [])
            assert all_.heard_by_anna(p.tcp(B4, 80, A4, 999, p.ACK | p.PSH, b"the last"))
            assert learned("opened-tcp4-long") == []


async def test_what_is_heard_and_sent_renews_what_is_remembered(network: HostNetwork) -> None:
    async with guests(network, "closed") as all_:
        assert all_.heard_from_anna(p.udp(A4, 999, B4, 53, b"?"))
        for hear in (True, False):
            run("nft", "flush", "set", "bridge", "wirt", "opened-udp4-young")  # as when a minute has gone by
            if hear:
                assert all_.heard_by_anna(p.udp(B4, 53, A4, 999, b"!"))
            else:
                assert all_.heard_from_anna(p.udp(A4, 999, B4, 53, b"?"))
            assert learned("opened-udp4-young") == learned("opened-udp4") == [[A4, 999, B4, 53]]


async def test_a_guest_that_opens_without_end_is_bounded_and_spends_nobody_elses_room(
    network: HostNetwork,
) -> None:
    async with guests(network, "closed", peers="closed") as all_:
        assert all_.anna.descriptor is not None
        before = time.monotonic()
        for number in range(16000):
            content = p.udp(A4, 1000 + number, C4, 53, b"?")
            send(all_.anna.descriptor, p.ether(CARL, ANNA, p.IP, content))
        entries = len(learned("opened-udp4"))
        assert 8192 <= entries <= 8192 + 150 * (time.monotonic() - before + 1)

        bert, carl = all_.others[BERT].descriptor, all_.others[CARL].descriptor
        assert bert is not None and carl is not None
        send(bert, p.ether(CARL, BERT, p.IP, p.udp(B4, 9, C4, 53, b"?")))
        answer = p.ether(BERT, CARL, p.IP, p.udp(C4, 53, B4, 9, b"!" * 30))
        send(carl, answer)
        send(carl, p.ether(BERT, CARL, p.ARP, p.arp(2, CARL, C4, B4, BERT) + END))
        assert _heard(bert, answer)
