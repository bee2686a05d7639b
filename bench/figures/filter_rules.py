"""The packet filters of a thousand cards are there at once, and those of one more sooner."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.namespace import own_namespace, run
from bench.rigs.workshop import Workshop
from wirt.model import security
from wirt.model.security import Allow, PortRange, SecurityGroup
from wirt.network.nft import Nft
from wirt.plan.filters import Commands, Filter, Port, Ruleset, compile_filter, compile_port
from wirt.plan.policy import PortPolicy

COUNT = 1000
TABLE = "wirt_bench"
ALL, ONE_MORE = "1,000 vifs", "one more"
WEB = SecurityGroup(
    "web",
    (
        Allow(security.Direction.IN, security.Protocol.TCP, (PortRange(80, 80), PortRange(443, 443))),
        Allow(security.Direction.IN, group="web"),
        Allow(security.Direction.OUT),
    ),
)
GROUPS = {WEB.name: WEB}


@dataclass(frozen=True, slots=True)
class Rig:
    """The numbers of ``COUNT`` + 1 taps."""

    indexes: tuple[int, ...]

    def ports(self, policy: Callable[[int], PortPolicy]) -> dict[int, Port]:
        return {index: Port(index, _device(n), policy(n)) for n, index in enumerate(self.indexes)}


@contextlib.contextmanager
def rig(workshop: Workshop) -> Iterator[Rig]:
    with own_namespace():
        lines = "".join(f"tuntap add dev {_device(number)} mode tap\n" for number in range(COUNT + 1))
        batch = workshop.folder("batch") / "devices"
        batch.write_text(lines)
        run("ip", "-batch", str(batch))
        yield Rig(tuple(socket.if_nametoindex(_device(number)) for number in range(COUNT + 1)))


def _device(number: int) -> str:
    return f"vif{number}.0"


def any_address(number: int) -> PortPolicy:
    return PortPolicy(mac=f"00:16:3e:00:{number >> 8:02x}:{number & 255:02x}")


def own_addresses(number: int) -> PortPolicy:
    addresses = (f"10.80.{number >> 8}.{number & 255}", f"fd00:80::{number:x}")
    return PortPolicy(any_address(number).mac, addresses)


def in_a_group(number: int) -> PortPolicy:
    policy = own_addresses(number)
    return PortPolicy(policy.mac, policy.addresses, groups=(WEB.name,))


def all_at_once(rig: Rig, policy: Callable[[int], PortPolicy]) -> float:
    ports = rig.ports(policy)
    del ports[rig.indexes[-1]]
    return asyncio.run(_timed(ports, None))


def one_more(rig: Rig, policy: Callable[[int], PortPolicy]) -> float:
    ports = rig.ports(policy)
    last = ports.pop(rig.indexes[-1])
    return asyncio.run(_timed(ports, last))


async def _timed(ports: dict[int, Port], more: Port | None) -> float:
    """Seconds for all, or for ``more`` beside them: to compile, and until nft has done it."""
    nft, empty = Nft(TABLE), Ruleset(TABLE)
    try:
        begin = time.perf_counter()
        ruleset, commands = empty.change(compile_filter(Filter(ports, GROUPS)))
        await nft.declare()
        await nft.apply(commands)
        if more is not None:
            begin = time.perf_counter()
            _, commands = ruleset.change(compile_port(more, GROUPS))
            await nft.apply(commands)
        return time.perf_counter() - begin
    finally:
        await nft.apply(Commands(TABLE).remove())


_KINDS: tuple[tuple[str, str, Callable[[int], PortPolicy]], ...] = (
    ("MAC", "of each card its MAC address alone", any_address),
    ("MAC and IP", "of each card its MAC, one IPv4 and one IPv6 address", own_addresses),
    ("in a group", "the same, and each in one security group of 3 rules", in_a_group),
)


def _contender(
    what: str,
    policy: Callable[[int], PortPolicy],
    name: str,
    timed: Callable[[Rig, Callable[[int], PortPolicy]], float],
) -> Contender[Rig]:
    return Contender(name, what, lambda rig: timed(rig, policy))


FIGURE = Figure(
    name="filter-rules",
    measures="From what should be until the kernel has it, compiling and nft included",
    unit="s",
    rig=rig,
    contenders=tuple(
        _contender(what, policy, f"{how_many}, {kind}", timed)
        for kind, what, policy in _KINDS
        for how_many, timed in ((ALL, all_at_once), (ONE_MORE, one_more))
    ),
    promises=tuple(
        Promise(f"rules for {ALL}, {kind}", f"{ALL}, {kind}", Basis.VALUE, Direction.BELOW, 2, "s")
        for kind, _, _ in _KINDS
    ),
    runs=5,
    quick_runs=1,
    warm_up=0,
    timeout_s=60,
)
