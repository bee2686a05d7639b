"""nft(8): applies transactions and lists what the kernel has. Nothing else knows the program."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from wirt.model.errors import DeadlinePassed, Unavailable
from wirt.plan.filters import Present, declaration, transaction
from wirt.ports.process import Finished, finish

PROGRAM = "nft"
DEADLINE_S = 20.0
_NETLINK_NETFILTER = 12
_NEW_GENERATION, _GET_GENERATION = 10 << 8 | 15, 10 << 8 | 16  # linux/netfilter/nf_tables.h
_REQUEST = 1
_WITHOUT = "without filters, which a vif gives up by antispoof=0 and no groups=, a card can be plugged in"


class Nft:
    """The tables called ``name``. Errors: ``Unavailable`` with nft's reason, ``DeadlinePassed``."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def apply(self, commands: Iterable[str]) -> None:
        """All of them or none. What nft can't say in JSON has to be declared already."""
        await self._run(("-j", "-f", "-"), transaction(commands))

    async def declare(self) -> None:
        await self._run(("-f", "-"), declaration(self.name))

    async def present(self) -> Present | None:
        """``None`` if both tables are missing."""
        listed: list[dict[str, Any]] = []
        families: list[str] = []
        for family in ("bridge", "netdev"):
            try:
                answer = await self._run(("-j", "list", "table", family, self.name))
            except Unavailable as error:
                if isinstance(error, DeadlinePassed) or "No such file" not in error.message:
                    raise
                continue
            listed += json.loads(answer)["nftables"]
            families.append(family)
        return _present(listed, frozenset(families)) if families else None

    async def _run(self, arguments: Sequence[str], text: str = "") -> str:
        try:
            ended = await run_nft(arguments, text)
        except OSError as error:
            raise Unavailable(
                f"the packet filter can't be set: {PROGRAM} does not start ({error.strerror})",
                hint=f"install nftables; {_WITHOUT}",
            ) from error
        if ended.code:
            raise Unavailable(f"nft refuses: {_reason(ended.said.decode(errors='replace'))}", hint=_WITHOUT)
        return ended.out.decode()


async def run_nft(arguments: Sequence[str], text: str = "") -> Finished:
    """``DeadlinePassed``; ``OSError`` if there is no nft."""
    try:
        return await finish((PROGRAM, *arguments), deadline_s=DEADLINE_S, given=text.encode())
    except TimeoutError as error:
        raise DeadlinePassed(f"nft did not answer within {DEADLINE_S:.0f} s", hint="try again") from error


def generation() -> int | None:
    """The number of the network namespace's ruleset, which every transaction of anybody raises by one. ``None``:
    it can't be had."""
    question = struct.pack("=IHHIIBBH", 20, _GET_GENERATION, _REQUEST, 1, 0, 0, 0, 0)
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        ) as netlink:
            netlink.settimeout(1.0)
            netlink.send(question)
            answer = netlink.recv(4096)
    except OSError:
        return None
    if len(answer) < 28 or struct.unpack_from("=H", answer, 4)[0] != _NEW_GENERATION:
        return None
    return int(struct.unpack_from(">I", answer, 24)[0])


def _reason(complaints: str) -> str:
    """nft says the same for each command that depends on the one that failed."""
    lines = [line.partition("Error: ")[2] for line in complaints.splitlines() if "Error: " in line]
    return lines[0] if lines else complaints.strip()[:200] or "no reason given"


def _present(listed: Iterable[dict[str, Any]], families: frozenset[str]) -> Present:
    chains: dict[str, dict[str, list[str]]] = {"bridge": {}, "netdev": {}}
    sets: dict[str, frozenset[tuple[object, ...]]] = {}
    maps: list[str] = []
    indexes = {name: index for index, name in socket.if_nameindex()}
    for entry in listed:
        if chain := entry.get("chain"):
            chains[chain["family"]].setdefault(chain["name"], [])
        elif rule := entry.get("rule"):
            chains[rule["family"]].setdefault(rule["chain"], []).append(rule.get("comment", ""))
        elif table := entry.get("set") or entry.get("map"):
            sets[table["name"]] = _elements(table, indexes)
            if "map" in entry:
                maps.append(table["name"])
    marks = {family: {name: tuple(rules) for name, rules in each.items()} for family, each in chains.items()}
    devices = {index: name for name, index in indexes.items()}
    return Present(marks["bridge"], marks["netdev"], sets, frozenset(maps), devices, families)


def _elements(table: dict[str, Any], indexes: dict[str, int]) -> frozenset[tuple[object, ...]]:
    """Keys, with a map's target last; none of a set that traffic fills."""
    if "timeout" in table:
        return frozenset()
    by_device = "iface_index" in table["type"]
    elements = []
    for element in table.get("elem", ()):
        key, target = element if isinstance(element, list) else (element, None)
        items = list(key["concat"]) if isinstance(key, dict) else [key]
        if by_device:
            items[0] = indexes.get(str(items[0]), items[0])
        verdict = () if target is None else (_target(target),)
        elements.append((*map(_plain, items), *verdict))
    return frozenset(elements)


def _target(verdict: dict[str, Any]) -> str:
    kind, body = next(iter(verdict.items()))
    return str(body["target"]) if body else str(kind)


def _plain(item: object) -> str:
    """Raw bits as a number in decimal, of which nft writes small ones as such and great ones in hexadecimal."""
    text = str(item)
    return str(int(text, 16)) if text.startswith("0x") else text
