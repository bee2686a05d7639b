"""A way out that is shared: what every fabric promises of it, and what real frames get."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from wirt.model.network import NetworkConfig
from wirt.network.fabric import HostFabric
from wirt.plan import networks_actions as actions
from wirt.plan.networks import Wanted
from wirt.plan.networks_shares import Share

from .hosts import FarHost, far_host
from .namespace import own_namespace, run
from .test_fabric import LAN, OFFICE, TAG, World, host, world

__all__ = ["host", "world"]

WEB, DB = Share("00:16:3e:00:00:01", 300), Share("00:16:3e:00:00:02", 100)
RATE = 1_000_000
CONFIGS = tuple(replace(each, share=RATE) for each in (LAN, OFFICE))


def wanted(config: NetworkConfig, *shares: Share) -> Wanted:
    return Wanted(TAG, (config,), shares={config.name: shares})


@pytest.mark.parametrize("config", CONFIGS, ids=lambda each: str(each.mode))
async def test_a_sharing_is_made_changed_and_leaves_nothing(world: World, config: NetworkConfig) -> None:
    before = await world.fabric.observe()
    await world.fabric.check(config)
    for shares in ((), (WEB,), (WEB, DB), (replace(WEB, weight=1), DB)):
        assert (await world.bring(wanted(config, *shares))).actions != ()
        assert (await world.planned(wanted(config, *shares))).actions == ()
    await world.bring(wanted(replace(config, share=None)))
    assert (await world.fabric.observe()).sharing == {}
    await world.bring(wanted(config, WEB))
    await world.bring(Wanted(TAG, (), leaving=(config,)))
    after = await world.fabric.observe()
    assert (set(after.links), after.sharing) == (set(before.links), {})


@pytest.mark.parametrize("harm", [("dev", "eth1", "root"), ("dev", "eth1", "ingress")], ids=str)
async def test_what_was_harmed_by_hand_is_noticed_and_mended(host: World, harm: tuple[str, ...]) -> None:
    office = wanted(CONFIGS[1], WEB)
    await host.bring(office)
    run("tc", "qdisc", "del", *harm)
    assert len((await host.bring(office)).actions) == 1
    assert (await host.planned(office)).actions == ()


SEND = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    out.connect((sys.argv[1], int(sys.argv[2])))
    print("ready", flush=True)
    while True:
        try:
            out.send(bytes(1000))
        except OSError:
            pass
"""
COUNT = """
import select, socket, sys
ends = {}
for port in map(int, sys.argv[1:]):
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); end.bind(("", port)); ends[end] = 0
print("ready", flush=True)
sys.stdin.readline()
total = -300
while total < 2000:
    for end in select.select(list(ends), [], [])[0]:
        end.recv(2000); total += 1
        if total >= 0:
            ends[end] += 1
print(*ends.values(), flush=True)
"""


@pytest.fixture
def bridged(tmp_path: Path) -> Iterator[tuple[World, FarHost, FarHost, FarHost]]:
    """Two guests in a bridge, and the world behind its uplink."""
    with own_namespace(), ExitStack() as stack:
        far = stack.enter_context(far_host("eth1", None, ("10.1.0.9/24",)))
        web = stack.enter_context(far_host("g-web", WEB.mac, ("10.1.0.1/24",)))
        db = stack.enter_context(far_host("g-db", DB.mac, ("10.1.0.2/24",)))
        yield World(HostFabric(TAG, tmp_path / "networks")), far, web, db


@pytest.mark.root
async def test_guests_that_send_more_than_the_way_out_carries_get_it_by_weight(
    bridged: tuple[World, FarHost, FarHost, FarHost],
) -> None:
    world, far, web, db = bridged
    await world.bring(wanted(CONFIGS[1], WEB, DB))
    for name in ("g-web", "g-db"):
        run("ip", "link", "set", name, "master", CONFIGS[1].bridge)
    assert web.pings("10.1.0.9") and db.pings("10.1.0.9")
    with far.python(COUNT, "7001", "7002") as counter, ExitStack() as stack:
        assert counter.stdout is not None and counter.stdin is not None
        assert counter.stdout.readline() == "ready\n"
        for guest, port in ((web, "7001"), (db, "7002")):
            sender = stack.enter_context(guest.python(SEND, "10.1.0.9", port))
            assert sender.stdout is not None and sender.stdout.readline() == "ready\n"
        counter.stdin.write("go\n")
        counter.stdin.flush()
        first, second = map(int, counter.stdout.readline().split())
    assert 2 < first / second < 4.5, (first, second)


def sent_to(name: str) -> int:
    """Bytes that have gone through a cable to its guest."""
    (link,) = json.loads(run("ip", "-j", "-s", "link", "show", "dev", name))
    return int(link["stats64"]["tx"]["bytes"])


async def both_sent_to(one: str, other: str) -> list[int]:
    """Of two megabytes, once the first buckets are empty."""

    async def until(more: int) -> list[int]:
        begun = [sent_to(one), sent_to(other)]
        while sum(now := [sent_to(one), sent_to(other)]) - sum(begun) < more:
            await asyncio.sleep(0.05)
        return [end - start for end, start in zip(now, begun, strict=True)]

    await until(300_000)
    return await until(2_000_000)


@pytest.mark.root
async def test_guests_that_are_sent_more_than_comes_in_get_it_by_weight(
    bridged: tuple[World, FarHost, FarHost, FarHost],
) -> None:
    world, far, web, db = bridged
    await world.bring(wanted(CONFIGS[1], WEB, DB))
    for name in ("g-web", "g-db"):
        run("ip", "link", "set", name, "master", CONFIGS[1].bridge)
    assert web.pings("10.1.0.9") and db.pings("10.1.0.9")
    with ExitStack() as stack:
        for address in ("10.1.0.1", "10.1.0.2"):
            sender = stack.enter_context(far.python(SEND, address, "7001"))
            assert sender.stdout is not None and sender.stdout.readline() == "ready\n"
        first, second = await both_sent_to("g-web", "g-db")
    assert 2 < first / second < 4.5, (first, second)


FLOOD = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    out.bind(("", int(sys.argv[1])))
    print("ready", flush=True)
    _, asks = out.recvfrom(10)
    while True:
        try:
            out.sendto(bytes(1000), asks)
        except OSError:
            pass
"""
ASK = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
    end.connect((sys.argv[1], int(sys.argv[2]))); end.send(b"go"); print("ready", flush=True)
    while True:
        end.recv(2000)
"""


@pytest.mark.root
@pytest.mark.long
async def test_behind_a_host_that_forwards_what_guests_are_sent_is_shared(tmp_path: Path) -> None:
    lan = CONFIGS[0]
    with own_namespace(), ExitStack() as stack:
        far = stack.enter_context(far_host("eth0", None, ("192.0.2.1/24",)))
        run("ip", "address", "add", "192.0.2.10/24", "dev", "eth0")
        run("ip", "route", "add", "default", "via", "192.0.2.1")
        here = World(HostFabric(TAG, tmp_path / "networks"))
        await here.bring(wanted(lan, WEB, DB))
        for share, number in ((WEB, 1), (DB, 2)):
            guest = stack.enter_context(far_host(f"g-{number}", share.mac, (f"10.5.0.20{number}/24",)))
            run("ip", "link", "set", f"g-{number}", "master", lan.bridge)
            guest.run("ip", "route", "replace", "default", "via", "10.5.0.1")
            assert guest.pings("192.0.2.1")
            for end, words in ((far, (FLOOD, f"700{number}")), (guest, (ASK, "192.0.2.1", f"700{number}"))):
                process = stack.enter_context(end.python(*words))
                assert process.stdout is not None and process.stdout.readline() == "ready\n"
        first, second = await both_sent_to("g-1", "g-2")
        for name in (await here.fabric.observe(frozenset())).servers:
            await here.fabric.apply(actions.StopServer(name))
    assert 2 < first / second < 4.5, (first, second)
