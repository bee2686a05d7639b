"""What a tap on this machine is, seen from the kernel's side."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

import pytest

from wirt.model.errors import Unavailable
from wirt.network import HostNetwork

from .frames import BROADCAST, frame, received, send
from .namespace import run
from .worlds import card, devices

pytestmark = pytest.mark.root

ANNA, BERT = "00:16:3e:00:00:01", "00:16:3e:00:00:02"


async def test_frames_pass_between_the_cards_of_one_bridge_and_of_no_other(network: HostNetwork) -> None:
    run("ip", "link", "add", "other", "type", "bridge")
    run("ip", "link", "set", "other", "up")
    anna = await network.plug(card("vif1.0", mac=ANNA))
    bert = await network.plug(card("vif2.0", mac=BERT))
    apart = await network.plug(card("vif3.0", bridge="other", mac="00:16:3e:00:00:03"))
    assert anna.descriptor and bert.descriptor and apart.descriptor

    send(anna.descriptor, question := frame(BROADCAST, ANNA, b"who is there?"))
    assert question in received(bert.descriptor, 2, until=b"who is there?")

    send(bert.descriptor, answer := frame(ANNA, BERT, b"it is Bert"))
    assert answer in received(anna.descriptor, 2, until=b"it is Bert")

    # The bridge itself may say something (IGMP, MLD); what the two said stays between them.
    assert not {question, answer} & set(received(apart.descriptor, 0.1))
    for plugged in (anna, bert, apart):
        await network.unplug(plugged)


async def test_a_tap_says_nothing_of_its_own_to_the_guest(network: HostNetwork) -> None:
    plugged = await network.plug(card())
    assert plugged.descriptor
    own = bytes.fromhex(devices()["vif1.0"]["address"].replace(":", ""))

    frames = received(plugged.descriptor, 0.3)  # the bridge may: IGMP, by its own address

    assert [each for each in frames if each[6:12] == own or each[12:14] == b"\x86\xdd"] == []
    assert _ipv6_devices() <= {"lo"}
    await network.unplug(plugged)


async def test_a_tap_in_a_bridge_with_ipv6_has_no_address_of_its_own(network: HostNetwork) -> None:
    run("ip", "link", "add", "br0", "type", "bridge")
    run("ip", "link", "set", "br0", "up")

    plugged = await network.plug(card(bridge="br0"))

    assert "vif1.0" not in _ipv6_devices()
    assert _setting("ipv6", "vif1.0", "disable_ipv6") in (None, "1")
    await network.unplug(plugged)


async def test_a_tap_is_up_not_persistent_and_closed_on_exec(network: HostNetwork) -> None:
    plugged = await network.plug(card())
    assert plugged.descriptor

    tap = devices()["vif1.0"]
    assert "UP" in tap["flags"]
    assert tap["linkinfo"]["info_data"]["persist"] is False
    assert fcntl.fcntl(plugged.descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    await network.unplug(plugged)


async def test_a_card_has_the_mtu_it_asks_for(network: HostNetwork) -> None:
    plugged = await network.plug(card(mtu=1400))

    assert devices()["vif1.0"]["mtu"] == 1400
    await network.unplug(plugged)


async def test_a_card_that_asks_for_no_mtu_does_not_narrow_its_bridge(network: HostNetwork) -> None:
    run("ip", "link", "add", "jumbo", "type", "bridge")
    run("ip", "link", "add", "uplink", "mtu", "9000", "type", "veth", "peer", "name", "far")
    run("ip", "link", "set", "uplink", "master", "jumbo")
    assert devices()["jumbo"]["mtu"] == 9000

    plugged = await network.plug(card(bridge="jumbo"))

    assert (devices()["jumbo"]["mtu"], devices()["vif1.0"]["mtu"]) == (9000, 9000)
    await network.unplug(plugged)


async def test_a_card_that_asks_for_no_mtu_is_not_narrowed_by_another(network: HostNetwork) -> None:
    narrow = await network.plug(card("vif1.0", mtu=1400))

    wide = await network.plug(card("vif2.0", mac=BERT))

    assert devices()["vif2.0"]["mtu"] == 1500
    for plugged in (narrow, wide):
        await network.unplug(plugged)


async def test_an_impossible_mtu_is_told_in_the_kernels_words_and_leaves_nothing(network: HostNetwork) -> None:
    with pytest.raises(Unavailable, match=r"into wirtbr0 with MTU 70000: .*(greater|Invalid)"):
        await network.plug(card(mtu=70000))

    assert "vif1.0" not in devices()


async def test_a_persistent_tap_of_someone_else_is_never_joined(network: HostNetwork) -> None:
    run("ip", "tuntap", "add", "vif1.0", "mode", "tap", "vnet_hdr")

    plugged = await network.plug(card("vif1.0"))

    assert plugged.tap != "vif1.0"
    await network.unplug(plugged)
    assert "vif1.0" in devices()


async def test_unplug_does_not_close_a_file_that_has_the_number_now(network: HostNetwork) -> None:
    plugged = await network.plug(card())
    assert plugged.descriptor is not None
    os.close(plugged.descriptor)  # as a hypervisor's start does
    reader, writer = os.pipe()
    os.dup2(reader, plugged.descriptor)

    await network.unplug(plugged)

    os.fstat(plugged.descriptor)
    for descriptor in {plugged.descriptor, reader, writer}:
        os.close(descriptor)


async def test_unplug_does_not_remove_a_later_device_of_the_same_name(network: HostNetwork) -> None:
    plugged = await network.plug(card("chosen"))
    assert plugged.descriptor is not None
    os.close(plugged.descriptor)
    run("ip", "link", "add", "chosen", "type", "bridge")

    await network.unplug(plugged)

    assert "chosen" in devices()


async def test_the_header_that_virtio_cards_use_is_on(network: HostNetwork) -> None:
    plugged = await network.plug(card())
    assert plugged.descriptor is not None

    answer = fcntl.ioctl(plugged.descriptor, 0x800454D2, bytes(40))  # TUNGETIFF

    name, flags = struct.unpack("16sH22x", answer)
    assert name.rstrip(b"\0") == b"vif1.0"
    assert flags & 0x4000  # IFF_VNET_HDR
    await network.unplug(plugged)


def _setting(family: str, device: str, name: str) -> str | None:
    try:
        return Path(f"/proc/sys/net/{family}/conf/{device}/{name}").read_text().strip()
    except FileNotFoundError:
        return None


def _ipv6_devices() -> set[str]:
    try:
        lines = Path("/proc/thread-self/net/if_inet6").read_text().splitlines()
    except FileNotFoundError:
        return set()
    return {line.split()[-1] for line in lines}
