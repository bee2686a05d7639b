"""Two real guests on one bridge: they talk, and neither can be taken for another, nor drown the other, whatever
its own kernel sends. The same is tried by a guest that may, which shows that it would arrive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .conftest import give_facts
from .guests import READY, Watch, pvh, watch
from .host import Host, a_host, wait_until

pytestmark = [pytest.mark.real, pytest.mark.root]

SENDER, PEER, STOLEN = "10.219.0.5", "10.219.0.6", "10.219.0.7"
FALSE_MAC = "00:16:3e:00:00:77"
FLOOD_S, LIMIT_BYTES_PER_S = 4, 125_000
Guests = Callable[[str], Watch]


@pytest.fixture
def host(namespace: str, tmp_path: Path, qemu_facts: Path) -> Iterator[Host]:
    home = give_facts(tmp_path / "home", qemu_facts)
    with a_host(home, tmp_path, prefix=("ip", "netns", "exec", namespace)) as made:
        yield made


@pytest.fixture
def guests(host: Host, tiny: TinyImage) -> Iterator[Guests]:
    """Start both, ``peer`` as everyone would and ``sender`` with more words for its card: the sender's console."""
    with ExitStack() as consoles:

        def start(words: str) -> Watch:
            for name, address, more in (("sender", SENDER, words), ("peer", PEER, "")):
                text = pvh(tiny, name, vif=f"ip={address}{more}").replace("ip=10.0.2.15/24 ", f"ip={address}/24 ")
                host.ok("create", host.write(f"{name}.cfg", text))
            watched = {name: consoles.enter_context(watch(host, name)) for name in ("sender", "peer")}
            for console in watched.values():
                console.until(READY)
            return watched["sender"]

        yield start
        host.ok("destroy", "sender", "peer")


def reaches(console: Watch, source: str | None = None) -> bool:
    """Whether the peer answers what is sent from ``source``."""
    said = console.output.count(b" packets received")
    console.type(f"ping -c 3 -W 2 {'-I ' + source if source else ''} {PEER}\n")
    output = console.until(b" packets received", count=said + 1)
    return b" 0 packets received" not in output[output.rindex(b"packets transmitted") :]


def lies(console: Watch) -> list[str]:
    """Which of two lies reach the peer: a stolen address, and a false MAC address."""
    console.does(f"ip addr add {STOLEN}/24 dev eth0")
    told = ["address"] if reaches(console, STOLEN) else []
    console.does(f"ip addr del {STOLEN}/24 dev eth0", "ip link set eth0 down")
    console.does(f"ip link set eth0 address {FALSE_MAC}", "ip link set eth0 up")
    return [*told, "MAC"] if reaches(console) else told


def flooded(host: Host, console: Watch) -> float:
    """Bytes a second that reach the peer of 8 Mbit/s that are sent to it."""

    def received() -> int:
        return int(host.domain("peer")["vifs"][0]["statistics"]["rx_bytes"])

    before, begin = received(), time.monotonic()
    console.does(f"wirt flood {PEER} 9 8 {FLOOD_S}")
    wait_until(lambda: time.monotonic() > begin + FLOOD_S + 1, 60, "the flood to end")
    return (received() - before) / (time.monotonic() - begin)


def test_two_guests_talk_and_neither_lie_nor_flood_of_one_reaches_the_other(host: Host, guests: Guests) -> None:
    console = guests(",rate=1Mb/s")
    mac = host.domain("sender")["vifs"][0]["mac"]
    assert reaches(console)
    assert 0 < flooded(host, console) < 1.1 * LIMIT_BYTES_PER_S
    assert lies(console) == []
    console.does("ip link set eth0 down", f"ip link set eth0 address {mac}", "ip link set eth0 up")
    assert reaches(console), "an honest guest is heard again"


@pytest.mark.long
def test_the_same_lies_and_more_of_the_flood_arrive_from_a_card_without_limits(host: Host, guests: Guests) -> None:
    console = guests(",antispoof=0")
    assert reaches(console)
    assert flooded(host, console) > 2 * LIMIT_BYTES_PER_S
    assert lies(console) == ["address", "MAC"]
