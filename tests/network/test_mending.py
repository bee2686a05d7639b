"""Whatever somebody does to the rules is noticed, said, and undone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from wirt.model.devices import Rate
from wirt.model.errors import NotFound, Unavailable
from wirt.model.security import Allow, Direction, Protocol, SecurityGroup
from wirt.network import DefaultBridge, HostNetwork, nft
from wirt.ports.virtual_clock import VirtualClock

from .namespace import run
from .worlds import card, devices

pytestmark = pytest.mark.root

WEB = SecurityGroup("web", (Allow(Direction.IN, Protocol.TCP),))
NIC = card("vif1.0")
NIC = replace(NIC, policy=replace(NIC.policy, addresses=("10.219.0.11", "2001:db8::11"), groups=("web",)))
LIMITED = replace(card("vif1.0"), policy=replace(card().policy, rate_out=Rate(10**6), rate_in=Rate(10**6)))


def index() -> int:
    return int(devices()["vif1.0"]["ifindex"])


def rules() -> str:
    """Without what traffic fills and counts."""
    listed = json.loads(run("nft", "-j", "list", "ruleset"))["nftables"]
    for entry in listed:
        for body in entry.values():
            body.pop("handle", None)
            if "timeout" in body:
                body.pop("elem", None)
            if "elem" in body:
                body["elem"].sort(key=str)
    return "\n".join(sorted(json.dumps(entry, sort_keys=True) for entry in listed))


DAMAGES: dict[str, tuple[Callable[[], object], str]] = {
    "all is flushed": (lambda: run("nft", "flush", "ruleset"), "the packet filter was gone"),
    "a table is deleted": (
        lambda: run("nft", "delete", "table", "netdev", "wirt"),
        "table of the packet filter was gone: netdev",
    ),
    "rules are flushed": (
        lambda: run("nft", "flush", "chain", "bridge", "wirt", "spoof-arp"),
        "had been changed in spoof-arp",
    ),
    "a rule is added": (
        lambda: run("nft", "insert", "rule", "bridge", "wirt", "enter", "accept"),
        "had been changed in enter",
    ),
    "a chain is added": (
        lambda: run("nft", "add", "chain", "bridge", "wirt", "strange"),
        "chains that nobody needs: strange",
    ),
    "an entry is deleted": (
        lambda: run("nft", "delete", "element", "bridge", "wirt", "from", "{ vif1.0 }"),
        "entries of the packet filter were gone: vif1.0 in from",
    ),
    "an entry is added": (
        lambda: run("nft", "add", "element", "bridge", "wirt", "addresses4", "{ vif1.0 . 10.219.0.99 }"),
        "entries that nobody needs: vif1.0 in addresses4",
    ),
    "the tap's own chain is flushed": (
        lambda: run("nft", "flush", "chain", "netdev", "wirt", f"port-{index()}"),
        "had been changed in port-",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_named_and_mended(network: HostNetwork, damage: str) -> None:
    await network.set_groups([WEB])
    plugged = await network.plug(NIC)
    before = rules()
    assert await network.mend() == ()

    act, said = DAMAGES[damage]
    act()
    assert rules() != before
    (report,) = await network.inspect(["vif1.0"])
    seen = "added" not in damage or "rule" in damage  # what is too much is no fault of the card
    assert any(said in sentence for sentence in report.amiss) is seen
    told = await network.mend()

    assert any(said in sentence for sentence in told), told
    assert rules() == before
    assert await network.mend() == ()
    assert (await network.inspect(["vif1.0"]))[0].amiss == ()
    await network.unplug(plugged)


async def test_a_plug_into_damage_mends_it(network: HostNetwork) -> None:
    await network.set_groups([WEB])
    plugged = await network.plug(NIC)
    run("nft", "flush", "ruleset")

    other = await network.plug(card("vif2.0", mac="00:16:3e:00:00:02"))

    assert await network.mend() == ()
    assert (await network.inspect(["vif1.0"]))[0].amiss == ()
    for each in (plugged, other):
        await network.unplug(each)


async def test_a_change_of_groups_into_damage_mends_it(network: HostNetwork) -> None:
    await network.set_groups([WEB])
    plugged = await network.plug(NIC)
    run("nft", "flush", "ruleset")

    await network.set_groups([WEB, SecurityGroup("more")])

    assert "group-more-in" in rules()
    assert await network.mend() == ()
    await network.unplug(plugged)


async def test_a_change_of_groups_of_adopted_cards_is_in_force_at_once(network: HostNetwork) -> None:
    await network.set_groups([WEB])
    await network.plug(NIC)
    later = HostNetwork(DefaultBridge(), VirtualClock())
    await later.set_groups([WEB])
    plugged = await later.adopt(NIC, "vif1.0")

    await later.set_groups([WEB, SecurityGroup("more")])

    assert "group-more-in" in rules()
    await later.unplug(plugged)


async def test_rules_go_with_their_card(network: HostNetwork) -> None:
    await network.set_groups([WEB])
    keeper = await network.plug(card("vif2.0", mac="00:16:3e:00:00:02"))
    before = rules()
    plugged = await network.plug(NIC)
    assert rules() != before

    await network.unplug(plugged)
    assert rules() == before

    plugged = await network.plug(NIC)
    assert plugged.descriptor is not None
    os.close(plugged.descriptor)  # as when its guest dies
    await network.mend()
    assert rules() == before
    await network.unplug(keeper)


async def test_a_later_daemon_finds_the_rules_as_they_should_be(network: HostNetwork) -> None:
    await network.set_groups([WEB])
    first = await network.plug(NIC)
    other = await network.plug(card("vif2.0", mac="00:16:3e:00:00:02"))
    before = rules()

    later = HostNetwork(DefaultBridge(), VirtualClock())
    await later.set_groups([WEB])
    plugged = await later.adopt(NIC, "vif1.0")
    await later.adopt(other.nic, "vif2.0")
    assert await later.mend() == ()
    assert rules() == before

    run("nft", "flush", "ruleset")
    assert await later.mend() == ("the packet filter was gone",)
    assert rules() == before
    await later.unplug(plugged)
    assert "vif1.0" not in devices()
    await network.unplug(first)
    await network.unplug(other)


async def test_a_daemon_that_does_not_know_a_card_yet_leaves_its_rules(network: HostNetwork) -> None:
    first = await network.plug(card("vif1.0"))
    before = index()

    later = HostNetwork(DefaultBridge(), VirtualClock())
    other = await later.plug(card("vif2.0", mac="00:16:3e:00:00:02"))

    assert "vif1.0" in run("nft", "list", "map", "bridge", "wirt", "from")
    run("nft", "flush", "chain", "bridge", "wirt", "spoof-arp")
    assert await later.mend()
    assert "vif1.0" in run("nft", "list", "map", "bridge", "wirt", "from")
    assert f"port-{before}" in run("nft", "list", "table", "netdev", "wirt")
    await later.unplug(other)
    await network.unplug(first)


async def test_two_hosts_in_one_namespace_do_not_touch_each_others_rules(network: HostNetwork) -> None:
    neighbour = HostNetwork(DefaultBridge(), VirtualClock(), name="wirt-other")
    mine = await network.plug(card("vif1.0"))
    before = rules()
    theirs = await neighbour.plug(card("vif2.0", mac="00:16:3e:00:00:02"))
    assert await neighbour.mend() == await network.mend() == ()
    await neighbour.unplug(theirs)
    run("nft", "delete", "table", "bridge", "wirt-other")
    run("nft", "delete", "table", "netdev", "wirt-other")
    assert rules() == before
    await network.unplug(mine)


async def test_without_nft_no_card_is_plugged_in_that_needs_it(
    network: HostNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nft, "PROGRAM", "no-such-nft")

    with pytest.raises(Unavailable, match="does not start") as refusal:
        await network.plug(card("vif1.0"))
    assert refusal.value.hint is not None
    assert "antispoof=0" in refusal.value.hint
    assert "vif1.0" not in devices()

    open_ = card("vif1.0")
    await network.unplug(await network.plug(replace(open_, policy=replace(open_.policy, antispoof=False))))


async def test_nfts_reason_is_told(network: HostNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    run("nft", "add", "table", "bridge", "wirt")
    run("nft", "add", "set", "bridge", "wirt", "nd-targets", "{ type ipv4_addr; }")

    with pytest.raises(Unavailable, match=r"nft refuses: .*File exists"):
        await network.plug(card("vif1.0"))
    assert "vif1.0" not in devices()


async def test_a_card_in_a_group_that_is_not_there_is_not_plugged_in(network: HostNetwork) -> None:
    with pytest.raises(NotFound, match="no security group web"):
        await network.plug(NIC)
    assert "vif1.0" not in devices()


async def test_limits_that_somebody_took_away_come_back(network: HostNetwork) -> None:
    plugged = await network.plug(LIMITED)
    shaper = next(name for name in devices() if name.startswith("ifb"))
    assert await network.mend() == ()

    run("tc", "qdisc", "del", "dev", "vif1.0", "root")
    assert await network.mend() == ("the limit of what vif1.0 is sent was gone or another",)
    run("tc", "qdisc", "del", "dev", shaper, "root")
    assert await network.mend() == ("the limit of what vif1.0 sends was gone or another",)
    run("ip", "link", "del", shaper)
    assert await network.mend()
    assert await network.mend() == ()
    assert (await network.inspect(["vif1.0"]))[0].amiss == ()
    await network.unplug(plugged)
    assert shaper not in devices()


async def test_the_device_that_limited_a_guest_goes_after_it(network: HostNetwork) -> None:
    plugged = await network.plug(LIMITED)
    assert plugged.descriptor is not None
    os.close(plugged.descriptor)

    await network.mend()

    assert [name for name in devices() if name.startswith("ifb") and "-" in name] == []
