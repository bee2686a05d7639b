"""The kernel's routing socket (rtnetlink(7)): the only module that knows pyroute2, which has no types.

Every refusal is an :class:`OSError` whose ``strerror`` is the kernel's own sentence where it gives one.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Interface
from typing import Any

BRIDGE = "bridge"
IFB = "ifb"
_ROOT = 0xFFFFFFFF  # TC_H_ROOT, linux/pkt_sched.h
_UP = 0x1  # IFF_UP, netdevice(7)
_AF_BRIDGE, _REACHABLE, _MASTER = 7, 0x02, 0x04  # linux/socket.h; NUD_REACHABLE, NTF_MASTER of linux/neighbour.h


@cache
def _pyroute2() -> Any:
    return importlib.import_module("pyroute2")


async def load() -> None:
    """Import pyroute2 (0.2 to 0.3 s: too long for the daemon's start, and for its event loop)."""
    if not _pyroute2.cache_info().currsize:
        await asyncio.to_thread(_pyroute2)


@dataclass(frozen=True, slots=True)
class Link:
    """A network device. ``kind`` is the kernel's name for its driver, ``None`` for hardware and loopback."""

    index: int
    name: str
    kind: str | None
    up: bool
    mtu: int
    master: int | None = None
    """The bridge that it is a port of."""


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 address of the device ``index``, with its network."""

    index: int
    interface: IPv4Interface


class Links:
    """One conversation with the kernel; from :func:`open_links`."""

    def __init__(self, route: Any) -> None:
        self._route = route

    async def find(self, name: str) -> Link | None:
        with _kernel_reasons():
            try:
                return _link((await self._route.link("get", ifname=name))[0])
            except _pyroute2().NetlinkError as error:
                if error.code == errno.ENODEV:
                    return None
                raise

    async def bridges(self) -> tuple[str, ...]:
        with _kernel_reasons():
            links = [_link(message) async for message in await self._route.link("dump")]
        return tuple(sorted(link.name for link in links if link.kind == BRIDGE))

    async def bridge_links(self) -> tuple[Link, ...]:
        with _kernel_reasons():
            links = [_link(message) async for message in await self._route.link("dump", kind=BRIDGE)]
        return tuple(link for link in links if link.kind == BRIDGE)

    async def add_bridge(self, name: str, mac: str) -> bool:
        """Whether it was made just now; ``False`` if something of that name exists. It is down."""
        with _kernel_reasons():
            try:
                await self._route.link(
                    "add", ifname=name, kind=BRIDGE, address=mac, br_stp_state=0, br_forward_delay=0
                )
            except _pyroute2().NetlinkError as error:
                if error.code == errno.EEXIST:
                    return False
                raise
        return True

    async def addresses(self) -> tuple[Address, ...]:
        with _kernel_reasons():
            return tuple([_address(message) async for message in await self._route.addr("dump", family=2)])

    async def add_address(self, index: int, interface: IPv4Interface) -> None:
        """One that is there already is no error."""
        with suppress(FileExistsError), _kernel_reasons():
            await self._route.addr(
                "add", index=index, address=str(interface.ip), prefixlen=interface.network.prefixlen
            )

    async def set_up(self, index: int, mtu: int | None = None) -> None:
        more = {} if mtu is None else {"mtu": mtu}
        with _kernel_reasons():
            await self._route.link("set", index=index, state="up", **more)

    async def attach(self, index: int, bridge: int, mtu: int) -> None:
        """Make ``index`` a port of ``bridge``, and set it up."""
        with _kernel_reasons():
            await self._route.link("set", index=index, master=bridge, mtu=mtu, state="up")

    async def lead(self, mac: str, index: int) -> None:
        """Have the bridge send what is for ``mac`` to its port ``index``, as if it had just learned it there
        (bridge(8), "fdb replace", "dynamic")."""
        with _kernel_reasons():
            await self._route.neigh(
                "replace", family=_AF_BRIDGE, ifindex=index, lladdr=mac, state=_REACHABLE, flags=_MASTER
            )

    async def delete(self, index: int) -> None:
        """One that is gone already is no error."""
        try:
            with _kernel_reasons():
                await self._route.link("del", index=index)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    async def add_ifb(self, name: str) -> int:
        """An intermediate functional block (ip-link(8)), up; one that is there already will do."""
        with suppress(FileExistsError), _kernel_reasons():
            await self._route.link("add", ifname=name, kind=IFB)
        with _kernel_reasons():
            index = int((await self._route.link("get", ifname=name))[0]["index"])
            await self._route.link("set", index=index, state="up")
        return index

    async def set_alias(self, index: int, alias: str) -> None:
        """Up to 255 characters that stay with the device (ip-link(8), "alias")."""
        with _kernel_reasons():
            await self._route.link("set", index=index, ifalias=alias)

    async def aliases(self, kind: str) -> dict[str, str]:
        """Of all devices of a kind, by name."""
        with _kernel_reasons():
            found = [message async for message in await self._route.link("dump", kind=kind)]
        return {
            str(message.get("ifname")): str(message.get("ifalias") or "")
            for message in found
            if message.get(("linkinfo", "kind")) == kind
        }

    async def disciplines(self) -> dict[int, set[tuple[str, int]]]:
        """By device, the kinds and handles of its queueing disciplines."""
        with _kernel_reasons():
            found = [message async for message in await self._route.tc("dump")]
        by_device: dict[int, set[tuple[str, int]]] = {}
        for message in found:
            by_device.setdefault(int(message["index"]), set()).add(
                (str(message.get("kind")), int(message["handle"]))
            )
        return by_device

    async def end_ingress(self, index: int) -> None:
        """No more filters on what comes in by the device; of one that has none, no error."""
        try:
            with _kernel_reasons():
                await self._route.tc("del", "ingress", index=index)
        except OSError as error:
            if error.errno not in (errno.ENODEV, errno.ENOENT, errno.EINVAL):
                raise

    async def ifbs(self) -> tuple[Link, ...]:
        with _kernel_reasons():
            links = [_link(message) async for message in await self._route.link("dump", kind=IFB)]
        return tuple(link for link in links if link.kind == IFB)

    async def shape(self, index: int, bytes_per_s: int, burst_bytes: int, queue_bytes: int) -> None:
        """Delay what leaves the device beyond this rate, by a token bucket (tc-tbf(8)); instead of any before."""
        limits = {"rate": bytes_per_s, "burst": burst_bytes, "limit": burst_bytes + queue_bytes}
        with _kernel_reasons():
            await self._route.tc("replace", "tbf", index=index, handle=0x10000, **limits)

    async def unshape(self, index: int) -> None:
        """A device that is not shaped is no error."""
        try:
            with _kernel_reasons():
                await self._route.tc("del", index=index, parent=_ROOT)
        except OSError as error:
            if error.errno not in (errno.ENODEV, errno.ENOENT, errno.EINVAL):
                raise

    async def shapes(self) -> dict[int, int]:
        """The rate of each device that is shaped, in bytes a second."""
        with _kernel_reasons():
            found = [message async for message in await self._route.tc("dump")]
        return {
            int(message["index"]): int(message.get_attr("TCA_OPTIONS").get_attr("TCA_TBF_PARMS")["rate"])
            for message in found
            if message.get("kind") == "tbf" and message["parent"] == _ROOT
        }


LinksOpener = Callable[[], AbstractAsyncContextManager[Links]]


@asynccontextmanager
async def open_links() -> AsyncIterator[Links]:
    """A conversation of its own for each caller (0.3 ms): nothing is shared, nothing is left to close."""
    await load()
    async with _pyroute2().AsyncIPRoute(ext_ack=True) as route:
        yield Links(route)


def index_of(name: str) -> int | None:
    """The device's number, which the kernel does not give again as long as it runs."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


@contextmanager
def _kernel_reasons() -> Iterator[None]:
    try:
        yield
    except _pyroute2().NetlinkError as error:
        reason = error.args[1] if len(error.args) > 1 and error.args[1] else os.strerror(error.code)
        raise OSError(error.code, reason) from None


def _link(message: Any) -> Link:
    return Link(
        index=int(message["index"]),
        name=str(message.get("ifname")),
        kind=message.get(("linkinfo", "kind")),
        up=bool(message["flags"] & _UP),
        mtu=int(message.get("mtu")),
        master=message.get("master"),
    )


def _address(message: Any) -> Address:
    """Of a point-to-point link this is the peer's, whose network is the one that is routed there."""
    return Address(int(message["index"]), IPv4Interface(f"{message.get('address')}/{message['prefixlen']}"))
