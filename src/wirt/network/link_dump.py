"""All devices at a glance: what a host with a thousand taps asks the kernel every few seconds.

pyroute2 takes half a millisecond for a device, most of it for what nobody reads; this takes some ten microseconds.
rtnetlink(7), netlink(7); linux/if_link.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import replace

from wirt.plan.networks_state import LinkState

_RTM_NEWLINK, _RTM_GETLINK = 16, 18
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST_DUMP = 0x1 | 0x300
_ADDRESS, _NAME, _MTU, _MASTER, _LINKINFO, _EXT_MASK = 1, 3, 4, 10, 18, 29
_KIND = 1
_SKIP_STATISTICS = 1 << 3
_NESTED = 0x3FFF  # what is left of a type without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_UP = 0x1
_HEADER, _LINK, _ATTRIBUTE, _NUMBER = (struct.Struct(each) for each in ("=IHHII", "=BxHiII", "=HH", "=I"))
_TIMEOUT_S = 5.0


def all_links() -> dict[str, LinkState]:
    """Of each its name, number, kind, address, MTU, bridge, and whether it is up; no more. ``OSError``."""
    attributes = _ATTRIBUTE.pack(8, _EXT_MASK) + _NUMBER.pack(_SKIP_STATISTICS)
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + attributes
    header = _HEADER.pack(_HEADER.size + len(body), _RTM_GETLINK, _REQUEST_DUMP, 1, 0)
    found: list[tuple[LinkState, int]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as route:
        route.settimeout(_TIMEOUT_S)
        route.bind((0, 0))
        route.send(header + body)
        for message in _messages(route):
            found.append(_link(message))
    names = {link.index: link.name for link, _ in found}
    return {link.name: link if not master else _with_master(link, names.get(master)) for link, master in found}


def _messages(route: socket.socket) -> Iterator[bytes]:
    while True:
        data = route.recv(1 << 18)
        offset = 0
        while offset < len(data):
            length, kind, *_ = _HEADER.unpack_from(data, offset)
            if kind == _NLMSG_DONE:
                return
            body = data[offset + _HEADER.size : offset + length]
            if kind == _NLMSG_ERROR:
                number = -struct.unpack_from("=i", body)[0]
                raise OSError(number, "the kernel does not list its devices")
            if kind == _RTM_NEWLINK:
                yield body
            offset += (length + 3) & ~3


def _link(body: bytes) -> tuple[LinkState, int]:
    _, _, index, flags, _ = _LINK.unpack_from(body)
    values = dict(_attributes(body, _LINK.size, len(body)))
    info = values.get(_LINKINFO)
    kind = dict(_attributes(info, 0, len(info))).get(_KIND) if info is not None else None
    link = LinkState(
        name=values[_NAME].rstrip(b"\0").decode(errors="surrogateescape"),
        index=index,
        kind=kind.rstrip(b"\0").decode() if kind is not None else None,
        mac=values.get(_ADDRESS, b"").hex(":"),
        up=bool(flags & _UP),
        mtu=_NUMBER.unpack(values[_MTU])[0],
    )
    master = values.get(_MASTER)
    return link, _NUMBER.unpack(master)[0] if master is not None else 0


def _attributes(data: bytes, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
    while offset + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _NESTED, data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def _with_master(link: LinkState, master: str | None) -> LinkState:
    return replace(link, master=master)
