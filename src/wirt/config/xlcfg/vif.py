"""One entry of ``vif``: comma-separated ``name=value`` and flags, all optional (xl-network-configuration(5)).

Beyond xl, wirt reads ``net=user|bridge|none`` (how the card reaches the world) and, as often as wanted,
``forward=tcp:HOSTPORT:GUESTPORT`` or ``forward=tcp:GUESTPORT`` (ports of the host's loopback); ``network=NAME``
(one of wirt's), ``groups=NAME NAME`` (security groups), ``antispoof=0|1``, and ``rate-in=``, of what the guest is
sent, written as ``rate=`` is.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

from wirt.config.xlcfg.rate import parse_rate
from wirt.config.xlcfg.spec import Part, Remark, SpecError, parts
from wirt.model.devices import NicType, PortForward, Rate, VifKind, VifSpec
from wirt.model.security import group_name_fault

# Cards that QEMU emulates, and the names that people use for virtio's.
MODELS = frozenset(
    (
        "e1000",
        "e1000-82544gc",
        "e1000-82545em",
        "e1000e",
        "igb",
        "i82550",
        "i82551",
        "i82557a",
        "i82557b",
        "i82557c",
        "i82558a",
        "i82558b",
        "i82559a",
        "i82559b",
        "i82559c",
        "i82559er",
        "i82562",
        "i82801",
        "ne2k_isa",
        "ne2k_pci",
        "pcnet",
        "rtl8139",
        "tulip",
        "usb-net",
        "virtio",
        "virtio-net",
        "virtio-net-pci",
        "vmxnet3",
    )
)
# How the kernel limits names of interfaces.
_INTERFACE = re.compile(r"(?!\.{1,2}\Z)[^\s/:,]{1,15}")
_MAC = re.compile(r"[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5}")
_VLAN = re.compile(
    r"(?P<first>[0-9]{1,4})(?:-(?P<last>[0-9]{1,4})|\+(?P<step>[0-9]{1,4})x(?P<count>[0-9]{1,4}))?(?P<mark>[pu]?)"
)
_FORWARD = re.compile(r"(?P<protocol>tcp|udp)(?::(?P<host>[0-9]{1,5}))?:(?P<guest>[0-9]{1,5})")
_COLO = re.compile(r"forwarddev|colo_[a-z0-9_]+")
_NETWORK = re.compile(r"[^\s/:,]{1,64}")
_E = TypeVar("_E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class ParsedVif:
    """What an entry means."""

    vif: VifSpec
    remarks: tuple[Remark, ...]


def parse_vif(spec: str) -> ParsedVif:
    """The card that ``spec`` describes. Raises :class:`SpecError` for what the manual page does not allow.

    Of a parameter that is given twice the last one counts, with a remark.
    """
    reader = _Reader()
    for part in parts(spec):
        reader.part(part)
    return reader.finish()


@dataclass(slots=True)
class _Reader:
    seen: dict[str, Part] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    kind: VifKind | None = None
    type: NicType | None = None
    ip: tuple[str, ...] = ()
    rate: Rate | None = None
    rate_in: Rate | None = None
    groups: tuple[str, ...] = ()
    antispoof: bool = True
    mtu: int | None = None
    devid: int | None = None
    trusted: bool = True
    forwards: list[PortForward] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    def part(self, part: Part) -> None:
        if part.name is None:
            self._flag(part)
            return
        read = _NAMED.get(part.name)
        if read is None:
            self._unread(part)
            return
        if part.name in self.seen and part.name != "forward":
            self.remarks.append(Remark(part.offset, f"{part.name}= is given twice; the last one counts"))
        self.seen[part.name] = part
        read(self, part)

    def _flag(self, part: Part) -> None:
        if part.text in ("trusted", "untrusted"):
            self.trusted = part.text == "trusted"
        elif part.text:
            hint = f"write {part.text}=..." if part.text in _NAMED else "parameters are name=value"
            raise SpecError(part.offset, f"{part.text} is no flag of a network card", hint=hint)

    def _unread(self, part: Part) -> None:
        """Parameters of COLO and the long gone ``accel``, and those that are nothing at all."""
        name = str(part.name)
        if name == "accel":
            self.remarks.append(Remark(part.offset, "accel= is not supported, here or by xl"))
        elif _COLO.fullmatch(name):
            self.remarks.append(Remark(part.offset, f"{name}= belongs to COLO and is not honoured"))
        else:
            near = get_close_matches(name[:40], _NAMED, n=1)
            hint = f"did you mean {near[0]}=?" if near else f"known are {', '.join(_NAMED)}"
            raise SpecError(part.offset, f"{name}= is no parameter of a network card", hint=hint)

    def set_text(self, part: Part) -> None:
        self.texts[str(part.name)] = part.value

    def set_gatewaydev(self, part: Part) -> None:
        if part.name == "netdev":
            self.remarks.append(Remark(part.offset, "netdev= is deprecated: write gatewaydev="))
        self.texts["gatewaydev"] = _interface(part)

    def set_interface(self, part: Part) -> None:
        self.texts[str(part.name)] = _interface(part)

    def set_mac(self, part: Part) -> None:
        self.texts["mac"] = _mac(part)

    def set_type(self, part: Part) -> None:
        self.type = _member(NicType, part)

    def set_kind(self, part: Part) -> None:
        self.kind = _member(VifKind, part)

    def set_model(self, part: Part) -> None:
        if part.value not in MODELS:
            near = get_close_matches(part.value[:40], MODELS, n=1, cutoff=0.5)
            known = ", ".join(sorted(MODELS))
            hint = f"did you mean {near[0]}?" if near else f"known are {known}"
            raise SpecError(part.value_offset, f"{part.value or 'nothing'} is no network card", hint=hint)
        self.texts["model"] = part.value

    def set_ip(self, part: Part) -> None:
        self.ip = tuple(_address(word, part) for word in part.value.split())

    def set_rate(self, part: Part) -> None:
        self.rate = parse_rate(part.value, part.value_offset)

    def set_rate_in(self, part: Part) -> None:
        self.rate_in = parse_rate(part.value, part.value_offset)

    def set_network(self, part: Part) -> None:
        if not _NETWORK.fullmatch(part.value):
            hint = "see those there are: wirt network list"
            raise SpecError(
                part.value_offset, f"{part.value[:80] or 'nothing'} is no name of a network", hint=hint
            )
        self.texts["network"] = part.value

    def set_groups(self, part: Part) -> None:
        self.groups = tuple(dict.fromkeys(part.value.split()))
        if not self.groups:
            raise SpecError(part.value_offset, "groups= names no security group", hint="as in groups=web ssh")
        for name in self.groups:
            if fault := group_name_fault(name):
                raise SpecError(part.value_offset, fault)

    def set_antispoof(self, part: Part) -> None:
        self.antispoof = bool(_number(part, 0, 1))

    def set_mtu(self, part: Part) -> None:
        self.mtu = _number(part, 68, 65535)

    def set_devid(self, part: Part) -> None:
        self.devid = _number(part, 0, 65535)

    def set_vlan(self, part: Part) -> None:
        self.texts["vlan"] = _vlan(part)

    def add_forward(self, part: Part) -> None:
        self.forwards.append(_forward(part))

    def finish(self) -> ParsedVif:
        bridge = self.texts.get("bridge")
        if bridge and self.kind not in (None, VifKind.BRIDGE):
            offset = self.seen["bridge"].offset
            raise SpecError(offset, f"bridge={bridge} contradicts net={self.kind}")
        self._refuse_contradictions(bridge)
        if self.forwards and self.kind is VifKind.NONE:
            raise SpecError(self.seen["forward"].offset, "net=none has nothing to forward")
        if self.forwards and (self.kind is VifKind.BRIDGE or bridge):
            offset = self.seen["forward"].offset
            self.remarks.append(Remark(offset, "forward= has no effect on a bridge, where the guest is reachable"))
        vif = VifSpec(
            mac=self.texts.get("mac"),
            bridge=bridge,
            kind=VifKind.BRIDGE if bridge or "network" in self.texts else self.kind,
            type=self.type,
            model=self.texts.get("model"),
            vifname=self.texts.get("vifname"),
            script=self.texts.get("script") or None,
            ip=self.ip,
            gatewaydev=self.texts.get("gatewaydev"),
            backend=self.texts.get("backend") or "0",
            rate=self.rate,
            mtu=self.mtu,
            vlan=self.texts.get("vlan"),
            devid=self.devid,
            trusted=self.trusted,
            forwards=tuple(self.forwards),
            network=self.texts.get("network"),
            rate_in=self.rate_in,
            groups=self.groups,
            antispoof=self.antispoof,
        )
        return ParsedVif(vif, tuple(self.remarks))

    def _refuse_contradictions(self, bridge: str | None) -> None:
        network = self.texts.get("network")
        if network and bridge:
            hint = "a network of wirt's has a bridge of its own: leave out one of them"
            raise SpecError(
                self.seen["network"].offset, f"network={network} contradicts bridge={bridge}", hint=hint
            )
        if network and self.kind not in (None, VifKind.BRIDGE):
            raise SpecError(self.seen["network"].offset, f"network={network} contradicts net={self.kind}")
        if self.kind in (None, VifKind.BRIDGE):
            return
        if self.groups:
            hint = "only a card in a bridge has filters"
            raise SpecError(self.seen["groups"].offset, f"groups= contradicts net={self.kind}", hint=hint)
        for name in ("rate", "rate-in", "antispoof"):
            if name in self.seen:
                message = f"{name}= has no effect with net={self.kind}, only on a bridge"
                self.remarks.append(Remark(self.seen[name].offset, message))


_NAMED: dict[str, Callable[[_Reader, Part], None]] = {
    "mac": _Reader.set_mac,
    "bridge": _Reader.set_interface,
    "net": _Reader.set_kind,
    "forward": _Reader.add_forward,
    "type": _Reader.set_type,
    "model": _Reader.set_model,
    "vifname": _Reader.set_interface,
    "script": _Reader.set_text,
    "ip": _Reader.set_ip,
    "backend": _Reader.set_text,
    "gatewaydev": _Reader.set_gatewaydev,
    "netdev": _Reader.set_gatewaydev,
    "rate": _Reader.set_rate,
    "rate-in": _Reader.set_rate_in,
    "network": _Reader.set_network,
    "groups": _Reader.set_groups,
    "antispoof": _Reader.set_antispoof,
    "devid": _Reader.set_devid,
    "mtu": _Reader.set_mtu,
    "vlan": _Reader.set_vlan,
}


def _member(kind: type[_E], part: Part) -> _E:
    try:
        return kind(part.value)
    except ValueError:
        message = f"{part.name}= is one of {', '.join(kind)}, not {part.value or 'empty'}"
        raise SpecError(part.value_offset, message) from None


def _interface(part: Part) -> str:
    if not _INTERFACE.fullmatch(part.value):
        hint = "1 to 15 characters, without blanks, / and :"
        raise SpecError(part.value_offset, f"{part.value or 'nothing'} is no name of an interface", hint=hint)
    return part.value


def _mac(part: Part) -> str:
    """A unicast address in lower case with two digits a group."""
    if not _MAC.fullmatch(part.value):
        hint = "six hexadecimal numbers, as in 00:16:3e:12:34:56"
        raise SpecError(part.value_offset, f"{part.value or 'nothing'} is no MAC address", hint=hint)
    octets = [int(group, 16) for group in part.value.split(":")]
    if octets[0] & 1:
        hint = "the first number must be even"
        raise SpecError(part.value_offset, f"{part.value} is a multicast address, which no card has", hint=hint)
    if not any(octets):
        raise SpecError(part.value_offset, f"{part.value} is the empty address, which no card has")
    return ":".join(f"{octet:02x}" for octet in octets)


def _address(word: str, part: Part) -> str:
    try:
        interface = ipaddress.ip_interface(word)
    except ValueError:
        hint = "as in 192.0.2.7 or 192.0.2.7/24, several with blanks between them"
        raise SpecError(part.value_offset, f"{word} is no IP address", hint=hint) from None
    return str(interface) if "/" in word else str(interface.ip)


def _number(part: Part, low: int, high: int) -> int:
    if not re.fullmatch("[0-9]{1,9}", part.value) or not low <= int(part.value) <= high:
        message = f"{part.name}= is a number from {low} to {high}, not {part.value or 'empty'}"
        raise SpecError(part.value_offset, message)
    return int(part.value)


def _vlan(part: Part) -> str:
    """The text, checked: terms ``10``, ``10-20``, ``10+5x3`` with ``p`` or ``u``, separated by slashes."""
    terms = part.value.split("/")
    for term in terms:
        match = _VLAN.fullmatch(term)
        if match is None or not _vlan_in_range(match):
            hint = "as in 10, 10p/20, 100-110 or 10p/100+10x4, all from 1 to 4094"
            raise SpecError(part.value_offset, f"{term or 'nothing'} is no VLAN", hint=hint)
    primaries = sum(term.endswith("p") for term in terms)
    single = len(terms) == 1 and terms[0].isdigit()
    if primaries > 1 or (primaries == 0 and not single):
        raise SpecError(part.value_offset, "exactly one VLAN must be marked as the primary one, with p")
    return part.value


def _vlan_in_range(match: re.Match[str]) -> bool:
    first = int(match["first"])
    last = first
    if match["last"]:
        last = int(match["last"])
    elif match["step"]:
        last = first + int(match["step"]) * int(match["count"])
    alone = match["last"] is None and match["step"] is None
    return 1 <= first <= last <= 4094 and (match["mark"] != "p" or alone)


def _forward(part: Part) -> PortForward:
    match = _FORWARD.fullmatch(part.value)
    hint = "as in tcp:8080:80, or tcp:80 for a free port of the host"
    if match is None:
        raise SpecError(part.value_offset, f"{part.value or 'nothing'} is no port forward", hint=hint)
    host, guest = int(match["host"] or 0), int(match["guest"])
    if not 1 <= guest <= 65535 or host > 65535:
        raise SpecError(part.value_offset, f"{part.value} has a port beyond 65535 or of 0", hint=hint)
    return PortForward(match["protocol"], guest, host)
