"""Counters are the kernel's own, as the guest sees them."""

from __future__ import annotations

import pytest

from wirt.network import HostNetwork
from wirt.network.statistics import device_statistics, parse, parse_all, tap_statistics
from wirt.ports.network import VifStatistics

from .frames import BROADCAST, frame, received, send
from .worlds import card

TABLE = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier
    lo:     100       2    0    0    0     0          0         0      100       2    0    0    0     0       0
vif1.0:      11      12   13   14   15    16         17        18       21      22   23   24   25    26      27
vif1.01:      1       1    1    1    1     1          1         1        1       1    1    1    1     1       1
"""


def test_what_the_host_sends_is_what_the_guest_receives() -> None:
    assert parse(TABLE, "vif1.0") == VifStatistics(21, 22, 24, 11, 12, 14)


def test_all_at_once_are_the_same_as_each() -> None:
    found = parse_all(TABLE)
    assert found.keys() == {"lo", "vif1.0", "vif1.01"}
    assert all(parse(TABLE, name) == statistics for name, statistics in found.items())


@pytest.mark.parametrize("name", ["vif1", "vif1.1", "", "face |bytes", "Inter-|   Receive"])
def test_a_tap_that_is_not_there_has_none(name: str) -> None:
    assert parse(TABLE, name) is None


@pytest.mark.root
async def test_frames_that_cross_a_bridge_are_counted_on_both_sides(network: HostNetwork) -> None:
    first = await network.plug(card("vif1.0", mac="00:16:3e:00:00:01"))
    second = await network.plug(card("vif2.0", mac="00:16:3e:00:00:02"))
    assert first.descriptor is not None
    assert second.descriptor is not None
    before = tap_statistics("vif1.0"), tap_statistics("vif2.0")
    assert before[0] is not None
    assert before[1] is not None
    send(first.descriptor, frame(BROADCAST, "00:16:3e:00:00:01", b"counted"))
    assert received(second.descriptor, 10, b"counted")
    after = tap_statistics("vif1.0"), tap_statistics("vif2.0")
    assert after[0] is not None
    assert after[1] is not None
    assert after[0].tx_packets > before[0].tx_packets
    assert after[1].rx_bytes > before[1].rx_bytes
    assert tap_statistics("vif3.0") is None
    assert device_statistics().keys() >= {"vif1.0", "vif2.0"}
    for plugged in (first, second):
        await network.unplug(plugged)
