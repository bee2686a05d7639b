"""What every network promises (``ports.network``)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from wirt.model.devices import PortForward, VifKind
from wirt.model.errors import BadInput, NotFound, ResourceBusy
from wirt.model.security import Allow, Direction, Protocol, SecurityGroup
from wirt.plan.nics import NicPlan
from wirt.ports.network import Plugged, VifStatistics
from wirt.ports.virtual_clock import VirtualClock

from .worlds import World, card, user_card


async def test_a_plugged_card_has_a_tap_in_its_bridge(world: World) -> None:
    world.make_bridge("br0")
    nic = card("vif1.0", bridge="br0")

    plugged = await world.network.plug(nic)

    assert (plugged.nic, plugged.kind, plugged.tap) == (nic, VifKind.BRIDGE, "vif1.0")
    assert world.taps() == {"vif1.0": "br0"}
    await world.network.unplug(plugged)


async def test_the_default_bridge_needs_no_preparation(world: World) -> None:
    plugged = await world.network.plug(card("vif1.0", bridge="wirtbr0"))

    assert world.taps() == {"vif1.0": "wirtbr0"}
    await world.network.unplug(plugged)


async def test_a_missing_bridge_is_named_with_those_that_exist_and_how_to_make_it(world: World) -> None:
    world.make_bridge("br7")

    with pytest.raises(NotFound, match="no bridge lan0") as refusal:
        await world.network.plug(card(bridge="lan0"))

    assert refusal.value.hint is not None
    assert "wirtbr0 (made on demand), br7" in refusal.value.hint
    assert "ip link add lan0 type bridge" in refusal.value.hint
    assert world.taps() == {}


async def test_a_device_that_is_no_bridge_is_not_taken_for_one(world: World) -> None:
    world.make_device("eth7")

    with pytest.raises(NotFound, match="eth7 is not a bridge"):
        await world.network.plug(card(bridge="eth7"))

    assert world.taps() == {}


async def test_a_generated_name_that_is_taken_gives_way_to_another(world: World) -> None:
    world.make_device("vif1.0")

    first = await world.network.plug(card("vif1.0", mac="00:16:3e:00:00:01"))
    second = await world.network.plug(card("vif1.0", mac="00:16:3e:00:00:02"))

    assert first.tap and second.tap
    assert len({first.tap, second.tap, "vif1.0"}) == 3
    assert set(world.taps()) == {first.tap, second.tap}
    assert all(len(name) <= 15 for name in world.taps())
    for plugged in (first, second):
        await world.network.unplug(plugged)


async def test_a_name_that_the_user_chose_is_kept_or_refused(world: World) -> None:
    world.make_device("uplink")

    with pytest.raises(ResourceBusy, match="uplink") as refusal:
        await world.network.plug(card("uplink"))

    assert refusal.value.hint is not None
    assert "vifname=" in refusal.value.hint
    assert world.taps() == {}


@pytest.mark.parametrize("name", ["", "sixteen-letters-", "a b", "a/b", "a:b", "tap%d", "..", "ähnlich-lang-mü"])
async def test_a_name_that_no_device_can_have_is_bad_input(world: World, name: str) -> None:
    with pytest.raises(BadInput, match="can't be the name"):
        await world.network.plug(card(name))

    assert world.taps() == {}


async def test_a_tap_vanishes_with_its_hypervisor(world: World) -> None:
    plugged = await world.network.plug(card())
    world.hand_over(plugged)
    assert set(world.taps()) == {"vif1.0"}

    world.hypervisor_ends(plugged)

    assert world.taps() == {}
    await world.network.unplug(plugged)


async def test_unplug_removes_a_tap_that_no_hypervisor_took(world: World) -> None:
    plugged = await world.network.plug(card())

    await world.network.unplug(plugged)
    await world.network.unplug(plugged)

    assert world.taps() == {}


async def test_unplug_removes_a_tap_that_a_hypervisor_still_holds(world: World) -> None:
    plugged = await world.network.plug(card())
    world.hand_over(plugged)

    await world.network.unplug(plugged)
    await world.network.unplug(plugged)

    assert world.taps() == {}


async def test_a_plug_replaces_what_an_earlier_one_of_the_same_card_left(world: World) -> None:
    earlier = await world.network.plug(card("chosen"))

    later = await world.network.plug(card("chosen"))

    assert later.tap == "chosen"
    await world.network.unplug(earlier)
    assert set(world.taps()) == {"chosen"}, "unplugging the earlier one must not touch the later one"
    await world.network.unplug(later)


async def test_a_plug_does_not_take_the_tap_of_a_running_hypervisor(world: World) -> None:
    """During a migration between two hosts on one machine, the same card runs and is plugged."""
    running = await world.network.plug(card("vif1.0"))
    world.hand_over(running)

    again = await world.network.plug(card("vif1.0"))

    assert again.tap != running.tap
    assert set(world.taps()) == {running.tap, again.tap}
    await world.network.unplug(again)
    world.hypervisor_ends(running)


async def test_fifty_cards_can_be_plugged_at_once(world: World) -> None:
    cards = [card(f"vif{n}.0", mac=f"00:16:3e:00:01:{n:02x}") for n in range(50)]

    plugged: list[Plugged] = await asyncio.gather(*(world.network.plug(nic) for nic in cards))

    assert world.taps() == {nic.tap: "wirtbr0" for nic in cards}
    await asyncio.gather(*(world.network.unplug(each) for each in plugged))
    assert world.taps() == {}


async def test_a_card_without_a_network_needs_nothing(world: World) -> None:
    nic = card(None, bridge=None, kind=VifKind.NONE)

    assert await world.network.plug(nic) == Plugged(nic, VifKind.NONE)
    assert world.taps() == {}


async def test_free_ports_are_chosen_and_fixed_ones_kept(world: World) -> None:
    nic = user_card(PortForward("tcp", 22), PortForward("udp", 53), PortForward("tcp", 80, 8080))

    plugged = await world.network.plug(nic)

    ssh, dns, web = plugged.forwards
    assert web == PortForward("tcp", 80, 8080)
    assert (ssh.protocol, ssh.guest_port, dns.protocol, dns.guest_port) == ("tcp", 22, "udp", 53)
    assert ssh.host_port > 1023 and dns.host_port > 1023
    assert plugged.tap is None and plugged.descriptor is None


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
async def test_a_fixed_port_that_is_taken_is_named(world: World, protocol: str) -> None:
    world.take_port(protocol, 8080)

    with pytest.raises(ResourceBusy, match=f"{protocol} port 8080 of 127.0.0.1 is in use"):
        await world.network.plug(user_card(PortForward(protocol, 80, 8080)))


async def test_a_port_is_given_to_one_card_only(world: World) -> None:
    first = await world.network.plug(user_card(PortForward("tcp", 22), mac="00:16:3e:00:00:01"))
    chosen = first.forwards[0].host_port

    with pytest.raises(ResourceBusy, match=str(chosen)):
        await world.network.plug(user_card(PortForward("tcp", 22, chosen), mac="00:16:3e:00:00:02"))
    with pytest.raises(ResourceBusy, match="8080"):
        await world.network.plug(user_card(PortForward("tcp", 80, 8080), PortForward("tcp", 81, 8080)))


async def test_a_card_may_have_its_fixed_port_again_and_another_card_after_it(world: World) -> None:
    forward = PortForward("tcp", 22, 2222)
    await world.network.plug(user_card(forward, mac="00:16:3e:00:00:01"))
    restarted = await world.network.plug(user_card(forward, mac="00:16:3e:00:00:01"))

    await world.network.unplug(restarted)

    other = await world.network.plug(user_card(forward, mac="00:16:3e:00:00:02"))
    assert other.forwards == (forward,)


async def test_a_fixed_port_is_kept_for_a_hypervisor_that_starts_and_not_for_one_that_never_did(
    world: World, clock: VirtualClock
) -> None:
    forward = PortForward("tcp", 22, 2222)
    await world.network.plug(user_card(forward, mac="00:16:3e:00:00:01"))

    await clock.advance(4)
    with pytest.raises(ResourceBusy):
        await world.network.plug(user_card(forward, mac="00:16:3e:00:00:02"))
    await clock.advance(2)

    await world.network.plug(user_card(forward, mac="00:16:3e:00:00:02"))


async def test_a_plug_that_fails_keeps_no_port(world: World) -> None:
    world.take_port("tcp", 8080)
    with pytest.raises(ResourceBusy):
        await world.network.plug(
            user_card(PortForward("tcp", 22, 2222), PortForward("tcp", 80, 8080), mac="00:16:3e:00:00:01")
        )

    other = await world.network.plug(user_card(PortForward("tcp", 22, 2222), mac="00:16:3e:00:00:02"))

    assert other.forwards[0].host_port == 2222


async def test_this_network_can_bridge(world: World) -> None:
    assert world.network.can_bridge()


WEB = SecurityGroup("web", (Allow(Direction.IN, Protocol.TCP),))


def grouped(*groups: str) -> NicPlan:
    nic = card()
    return replace(nic, policy=replace(nic.policy, groups=groups))


async def test_nothing_is_amiss_with_what_was_plugged_in(world: World) -> None:
    await world.network.set_groups([WEB])
    plugged = await world.network.plug(grouped("web"))

    assert await world.network.mend() == ()
    (report,) = await world.network.inspect(["vif1.0", "nobody"])
    assert (report.tap, report.bridge, report.up, report.amiss) == ("vif1.0", "wirtbr0", True, ())
    await world.network.unplug(plugged)


async def test_rules_that_somebody_removed_are_told_and_made_again(world: World) -> None:
    plugged = await world.network.plug(card())
    world.forget_rules()

    assert (await world.network.inspect(["vif1.0"]))[0].amiss
    assert await world.network.mend()
    assert await world.network.mend() == ()
    assert (await world.network.inspect(["vif1.0"]))[0].amiss == ()
    await world.network.unplug(plugged)


async def test_a_card_in_a_group_that_does_not_exist_is_not_plugged_in(world: World) -> None:
    with pytest.raises(NotFound, match="no security group web"):
        await world.network.plug(grouped("web"))

    assert world.taps() == {}


async def test_a_group_that_a_card_is_in_cannot_go(world: World) -> None:
    await world.network.set_groups([WEB])
    plugged = await world.network.plug(grouped("web"))

    with pytest.raises(NotFound, match="no security group web"):
        await world.network.set_groups([])

    assert await world.network.mend() == ()
    await world.network.unplug(plugged)
    await world.network.set_groups([])


async def test_a_group_that_allows_one_that_does_not_exist_is_refused(world: World) -> None:
    with pytest.raises(NotFound, match="allows the group other, which does not exist"):
        await world.network.set_groups([SecurityGroup("web", (Allow(Direction.IN, group="other"),))])


async def test_a_running_card_can_change_its_policy(world: World) -> None:
    await world.network.set_groups([WEB])
    plugged = await world.network.plug(card())

    await world.network.set_policy("vif1.0", grouped("web").policy)
    with pytest.raises(NotFound, match="no security group web"):
        await world.network.set_groups([])
    with pytest.raises(NotFound, match="no security group nil"):
        await world.network.set_policy("vif1.0", grouped("nil").policy)
    with pytest.raises(NotFound, match=r"vif9\.0"):
        await world.network.set_policy("vif9.0", card().policy)

    assert await world.network.mend() == ()
    await world.network.unplug(plugged)


async def test_a_card_that_a_hypervisor_holds_is_adopted_and_unplugged(world: World) -> None:
    plugged = await world.network.plug(card())
    world.hand_over(plugged)

    adopted = await world.network.adopt(plugged.nic, "vif1.0")

    assert (adopted.tap, adopted.kind, adopted.nic) == ("vif1.0", VifKind.BRIDGE, plugged.nic)
    assert await world.network.mend() == ()
    await world.network.unplug(adopted)
    assert world.taps() == {}


async def test_a_bridge_is_told_where_a_card_is_now(world: World) -> None:
    old, new = card("vif1.0", bridge="wirtbr0"), card("vif2.0", bridge="wirtbr0")
    before, after = await world.network.plug(old), await world.network.plug(new)
    await world.network.lead_to((before,))
    assert world.led_to(old.mac) == "vif1.0"
    await world.network.lead_to((after,))
    assert old.mac == new.mac and world.led_to(new.mac) == "vif2.0"
    for plugged in (before, after):
        await world.network.unplug(plugged)


async def test_a_bridge_learns_from_who_speaks_for_a_card_where_it_is_now(world: World) -> None:
    old, new = card("vif1.0", bridge="wirtbr0"), card("vif2.0", bridge="wirtbr0")
    before, after = await world.network.plug(old), await world.network.plug(new)
    here, there = world.network.herald((before,)), world.network.herald((after,))
    for plugged in (before, after):
        world.hand_over(plugged)
    here.announce()
    assert world.led_to(old.mac) == "vif1.0"
    there.announce()
    assert world.led_to(new.mac) == "vif2.0"
    here.close()
    here.announce()
    assert world.led_to(new.mac) == "vif2.0", "who was dismissed says nothing more"
    there.close()
    there.close()
    for plugged in (before, after):
        world.hypervisor_ends(plugged)
    assert world.taps() == {}


async def test_a_card_without_a_tap_needs_nobody_who_speaks_for_it(world: World) -> None:
    plugged = await world.network.plug(user_card())
    herald = world.network.herald((plugged,))
    herald.announce()
    herald.close()
    await world.network.unplug(plugged)


async def test_a_card_that_is_gone_is_not_adopted(world: World) -> None:
    with pytest.raises(NotFound, match=r"vif1\.0"):
        await world.network.adopt(card(), "vif1.0")


async def test_a_cards_traffic_is_counted_as_long_as_it_is_there(world: World) -> None:
    plugged = await world.network.plug(card())

    assert isinstance(await world.network.statistics("vif1.0"), VifStatistics)
    await world.network.unplug(plugged)
    assert await world.network.statistics("vif1.0") is None
