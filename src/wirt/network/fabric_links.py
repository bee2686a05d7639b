"""What networks need of the routing socket (rtnetlink(7)) beyond :mod:`wirt.network.links`."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from wirt.model.network import Vxlan
from wirt.network.link_dump import all_links
from wirt.network.links import BRIDGE, Links, _kernel_reasons, _pyroute2, index_of, load
from wirt.plan.networks_state import Interface, LinkState, VxlanState
from wirt.plan.vlans import VlanMembership

_UP = 0x1  # IFF_UP, netdevice(7)
_EVERYONE = "00:00:00:00:00:00"
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # RTMGRP_LINK, IPV4_IFADDR and _ROUTE, IPV6_IFADDR and _ROUTE
_PVID, _UNTAGGED = 0x2, 0x4  # BRIDGE_VLAN_INFO_*, linux/if_bridge.h
_NAMED_AT_MOST = 200
"""Above that, one dump of all devices is cheaper than asking for each."""


class FabricLinks(Links):
    """One conversation with the kernel; from :func:`open_fabric_links`."""

    @classmethod
    def of(cls, links: Links) -> FabricLinks:
        """The same conversation."""
        return cls(links._route)

    async def states(self, names: frozenset[str] | None) -> dict[str, LinkState]:
        """Of the devices ``names``, or of all. One that is not there is left out; of taps, their addresses are."""
        if names is not None:
            glance = all_links()
            there = {name: glance[name] for name in names if name in glance}
            taps = {name: link for name, link in there.items() if link.kind == "tun"}
            return {**taps, **await self._details(frozenset(there) - frozenset(taps))}
        return await self._details(None)

    async def _details(self, names: frozenset[str] | None) -> dict[str, LinkState]:
        if names is not None and not names:
            return {}
        with _kernel_reasons():
            messages = await self._messages(names)
            found: dict[int, list[Interface]] = {}
            indexes = {int(message["index"]) for message in messages}
            async for each in await self._route.addr("dump"):
                if int(each["index"]) in indexes:
                    found.setdefault(int(each["index"]), []).append(_interface(each))
            peers = await self._peers(messages)
        by_index = {int(message["index"]): str(message.get("ifname")) for message in messages}
        states = {}
        for message in messages:
            index = int(message["index"])
            name_of = {number: by_index.get(number) or _name(number) for number in _references(message)}
            state = _state(message, frozenset(found.get(index, ())), peers.get(index, frozenset()), name_of)
            states[state.name] = state
        return states

    async def _messages(self, names: frozenset[str] | None) -> list[Any]:
        if names is None or len(names) > _NAMED_AT_MOST:
            found = [message async for message in await self._route.link("dump")]
            return [each for each in found if names is None or each.get("ifname") in names]
        found = []
        for name in sorted(names):
            with suppress(_pyroute2().NetlinkError):
                found += await self._route.link("get", ifname=name)
        return found

    async def _peers(self, messages: list[Any]) -> dict[int, frozenset[str]]:
        if not any(message.get(("linkinfo", "kind")) == "vxlan" for message in messages):
            return {}
        peers: dict[int, set[str]] = {}
        async for entry in await self._route.fdb("dump"):
            if entry.get("lladdr") == _EVERYONE and entry.get("dst") is not None:
                peers.setdefault(int(entry["ifindex"]), set()).add(str(ipaddress.ip_address(entry.get("dst"))))
        return {index: frozenset(found) for index, found in peers.items()}

    async def make_bridge(self, name: str, mac: str, *, mtu: int | None, filtering: bool) -> None:
        more: dict[str, object] = {} if mtu is None else {"mtu": mtu}
        if filtering:
            more["br_vlan_filtering"] = 1
        await self._add(name, kind=BRIDGE, address=mac, br_stp_state=0, br_forward_delay=0, **more)

    async def make_vlan(self, name: str, mac: str, parent: str, vlan: int) -> None:
        await self._add(name, kind="vlan", address=mac, link=self.index(parent), vlan_id=vlan)

    async def make_vxlan(self, name: str, mac: str, vxlan: Vxlan) -> None:
        key = "vxlan_local" if ipaddress.ip_address(vxlan.local).version == 4 else "vxlan_local6"
        more = {key: vxlan.local, "vxlan_id": vxlan.vni, "vxlan_port": vxlan.port, "vxlan_learning": 1}
        await self._add(name, kind="vxlan", address=mac, **more)

    async def _add(self, name: str, **values: object) -> None:
        with suppress(FileExistsError), _kernel_reasons():
            await self._route.link("add", ifname=name, **values)

    async def change(self, name: str, **values: object) -> None:
        with _kernel_reasons():
            await self._route.link("set", index=self.index(name), **values)

    async def filter_vlans(self, name: str) -> None:
        with _kernel_reasons():
            await self._route.link("set", index=self.index(name), kind=BRIDGE, br_vlan_filtering=1)

    async def join(self, name: str, bridge: str) -> None:
        await self.change(name, master=self.index(bridge))

    async def enslave(self, index: int, bridge: int, mtu: int) -> None:
        """Make a port of it, and leave it down."""
        with _kernel_reasons():
            await self._route.link("set", index=index, master=bridge, mtu=mtu)

    async def set_vlans(self, index: int, vlans: VlanMembership, default: int = 1) -> None:
        """Of the bridge's port ``index``, and of no other VLAN: the one that a port gets by itself is taken
        away."""
        flags = dict.fromkeys(vlans.untagged, _UNTAGGED) | dict.fromkeys(vlans.tagged, 0)
        flags[vlans.primary] = flags.get(vlans.primary, 0) | _PVID
        with _kernel_reasons():
            if default not in flags:
                with suppress(_pyroute2().NetlinkError):
                    await self._route.vlan_filter("del", index=index, vlan_info={"vid": default})
            for vid, flag in sorted(flags.items()):
                await self._route.vlan_filter("add", index=index, vlan_info={"vid": vid, "flags": flag})

    async def add_ip(self, name: str, interface: Interface) -> None:
        prefix = interface.network.prefixlen
        with suppress(FileExistsError), _kernel_reasons():
            await self._route.addr("add", index=self.index(name), address=str(interface.ip), prefixlen=prefix)

    async def add_peer(self, name: str, peer: str) -> None:
        with suppress(FileExistsError), _kernel_reasons():
            await self._route.fdb("append", ifindex=self.index(name), lladdr=_EVERYONE, dst=peer)

    async def remove_peer(self, name: str, peer: str) -> None:
        with suppress(FileNotFoundError), _kernel_reasons():
            await self._route.fdb("del", ifindex=self.index(name), lladdr=_EVERYONE, dst=peer)

    def index(self, name: str) -> int:
        index = index_of(name)
        if index is None:
            raise OSError(errno.ENODEV, f"there is no device {name}")
        return index


@asynccontextmanager
async def open_fabric_links() -> AsyncIterator[FabricLinks]:
    await load()
    async with _pyroute2().AsyncIPRoute(ext_ack=True) as route:
        yield FabricLinks(route)


async def changes() -> AsyncIterator[None]:
    """Yields whenever the kernel told of something; what, is not looked at, and what got lost does not matter."""
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE) as listener:
        listener.bind((0, _GROUPS))

        def drain() -> None:
            with suppress(BlockingIOError):
                while True:
                    with suppress(_TooMany):
                        _receive(listener)
            news.set()

        loop.add_reader(listener, drain)
        try:
            while True:
                await news.wait()
                news.clear()
                yield
        finally:
            loop.remove_reader(listener)


class _TooMany(Exception):
    pass


def _receive(listener: socket.socket) -> None:
    try:
        listener.recv(65536)
    except BlockingIOError:
        raise
    except OSError as error:  # ENOBUFS: more came than was read
        raise _TooMany from error


def _references(message: Any) -> list[int]:
    return [int(number) for number in (message.get("master"), message.get("link")) if number]


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"#{index}"


def _interface(message: Any) -> Interface:
    """Of a point-to-point link this is the peer's, whose network is the one that is routed there."""
    return ipaddress.ip_interface(f"{message.get('address')}/{message['prefixlen']}")


def _state(
    message: Any, addresses: frozenset[Interface], peers: frozenset[str], names: dict[int, str]
) -> LinkState:
    kind = message.get(("linkinfo", "kind"))
    data = message.get(("linkinfo", "data")) if kind in (BRIDGE, "vlan", "vxlan") else None
    vlan = data.get("vlan_id") if kind == "vlan" and data is not None else None
    return LinkState(
        name=str(message.get("ifname")),
        index=int(message["index"]),
        kind=kind,
        mac=str(message.get("address") or ""),
        up=bool(message["flags"] & _UP),
        mtu=int(message.get("mtu") or 0),
        master=names.get(int(message.get("master") or 0)),
        parent=names.get(int(message.get("link") or 0)),
        vlan=int(vlan) if vlan is not None else None,
        vxlan=_vxlan(data, peers) if kind == "vxlan" and data is not None else None,
        filtering=bool(kind == BRIDGE and data is not None and data.get("br_vlan_filtering")),
        addresses=addresses,
    )


def _vxlan(data: Any, peers: frozenset[str]) -> VxlanState:
    local = data.get("vxlan_local") or data.get("vxlan_local6") or ""
    return VxlanState(int(data.get("vxlan_id")), str(local), int(data.get("vxlan_port")), peers)


def refusal(error: OSError) -> str:
    return error.strerror or os.strerror(error.errno or 0)
