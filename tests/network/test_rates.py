"""Limits of what a card sends and is sent hold, and let a burst through.

How fast a busy machine is says nothing here; only how much passes in a given time at most, and that nothing is
held back without a limit.
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from wirt.model.devices import Rate
from wirt.network import HostNetwork
from wirt.network.rates import Rates
from wirt.ports.network import Plugged

from . import packets as p
from .frames import received, send
from .worlds import card, devices

pytestmark = pytest.mark.root

ANNA, BERT = "00:16:3e:00:00:01", "00:16:3e:00:00:02"
A4, B4 = "10.219.0.11", "10.219.0.12"
FRAME = 1400
RATE = Rate(100_000, 280_000)
BURST = 28_000
COUNT = 60


async def pair(network: HostNetwork, *, rate: Rate | None, rate_in: Rate | None) -> tuple[Plugged, Plugged]:
    nic = card("vif1.0", mac=ANNA)
    policy = replace(nic.policy, rate_out=rate, rate_in=rate_in)
    return await network.plug(replace(nic, policy=policy)), await network.plug(card("vif2.0", mac=BERT))


def passed(source: Plugged, destination: Plugged, frame: bytes) -> tuple[int, float]:
    """Of so many frames sent at once: how many arrive, and seconds until the last."""
    assert source.descriptor is not None and destination.descriptor is not None
    began = time.monotonic()
    for _ in range(COUNT):
        send(source.descriptor, frame)
    count, last = 0, began
    while any(frame in each for each in received(destination.descriptor, 1, until=frame)):
        count, last = count + 1, time.monotonic()
        if count == COUNT:
            break
    return count, last - began


def outgoing() -> bytes:
    return p.ether(BERT, ANNA, p.IP, p.udp(A4, 9, B4, 9, bytes(FRAME - 42)))


def incoming() -> bytes:
    return p.ether(ANNA, BERT, p.IP, p.udp(B4, 9, A4, 9, bytes(FRAME - 42)))


@pytest.mark.parametrize("way", ["out", "in"])
async def test_a_limit_delays_and_loses_nothing_that_can_wait(network: HostNetwork, way: str) -> None:
    rate, rate_in = (RATE, None) if way == "out" else (None, RATE)
    anna, bert = await pair(network, rate=rate, rate_in=rate_in)

    count, took = passed(anna, bert, outgoing()) if way == "out" else passed(bert, anna, incoming())

    least = (COUNT * FRAME - BURST) / RATE.bytes_per_s
    assert count == COUNT
    assert took >= least * 0.9, f"{COUNT} frames in {took:.2f} s"
    for plugged in (anna, bert):
        await network.unplug(plugged)


@pytest.mark.parametrize("way", ["out", "in"])
async def test_the_other_direction_is_not_limited(network: HostNetwork, way: str) -> None:
    rate, rate_in = (RATE, None) if way == "in" else (None, RATE)
    anna, bert = await pair(network, rate=rate, rate_in=rate_in)

    count, took = passed(anna, bert, outgoing()) if way == "out" else passed(bert, anna, incoming())

    assert (count, took < (COUNT * FRAME - BURST) / RATE.bytes_per_s * 0.9) == (COUNT, True)
    for plugged in (anna, bert):
        await network.unplug(plugged)


async def test_a_burst_passes_at_once(network: HostNetwork) -> None:
    """Two seconds' worth of the rate: all of it at once, which would else take that long."""
    anna, bert = await pair(network, rate=Rate(50_000, 2_000_000), rate_in=None)

    count, took = passed(anna, bert, outgoing())

    assert (count, took < COUNT * FRAME / 50_000 * 0.7) == (COUNT, True)
    for plugged in (anna, bert):
        await network.unplug(plugged)


async def test_a_limited_guest_tells_no_lies_either(network: HostNetwork) -> None:
    anna, bert = await pair(network, rate=Rate(10**7), rate_in=None)
    assert anna.descriptor is not None and bert.descriptor is not None

    send(anna.descriptor, lie := p.ether(BERT, "00:16:3e:00:00:99", p.IP, p.udp(A4, 9, B4, 9, b"lie")))
    send(anna.descriptor, truth := p.ether(BERT, ANNA, p.IP, p.udp(A4, 9, B4, 9, b"truth")))

    frames = received(bert.descriptor, 2, until=b"truth")
    assert [frame.rstrip(b"\0") for frame in frames if frame[12:14] == b"\x08\x00"] == [truth.rstrip(b"\0")]
    assert lie not in frames
    for plugged in (anna, bert):
        await network.unplug(plugged)


async def test_a_kernel_that_cannot_delay_drops_what_is_too_much(
    network: HostNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def without_ifb(*_: object) -> None:
        return None

    monkeypatch.setattr(Rates, "limit", without_ifb)
    anna, bert = await pair(network, rate=Rate(40_000), rate_in=None)

    count, _ = passed(anna, bert, outgoing())

    assert 40_000 // FRAME - 2 <= count < COUNT
    assert not any(name.startswith("ifb") and "-" in name for name in devices())
    for plugged in (anna, bert):
        await network.unplug(plugged)


async def test_a_limit_can_be_changed_and_taken_away_while_the_guest_runs(network: HostNetwork) -> None:
    anna, bert = await pair(network, rate=RATE, rate_in=RATE)

    await network.set_policy("vif1.0", replace(anna.nic.policy, rate_out=None, rate_in=None))

    for source, destination, frame in ((anna, bert, outgoing()), (bert, anna, incoming())):
        count, took = passed(source, destination, frame)
        assert (count, took < (COUNT * FRAME - BURST) / RATE.bytes_per_s * 0.9) == (COUNT, True)
    assert not any(name.startswith("ifb") and "-" in name for name in devices())
    for plugged in (anna, bert):
        await network.unplug(plugged)
