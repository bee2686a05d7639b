"""Bridges: finding the one that a card asks for, and making wirt's own on demand."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Interface

from wirt.model.errors import NotFound, ResourceBusy, Unavailable
from wirt.network import sysctl
from wirt.network.links import BRIDGE, Address, Link, Links
from wirt.network.refusals import WITHOUT, refused
from wirt.plan.networks import fixed_mac


@dataclass(frozen=True, slots=True)
class DefaultBridge:
    """The bridge that is made when a card names none. The host has ``address`` (with its network's prefix) in it.

    It is isolated: guests reach each other and the host, and nothing is forwarded for them.
    """

    name: str = "wirtbr0"
    address: IPv4Interface = field(default_factory=lambda: IPv4Interface("10.219.0.1/24"))


class Bridges:
    """Errors of all: ``Unavailable`` with the kernel's reason."""

    def __init__(self, default: DefaultBridge) -> None:
        self._default = default
        self._complete: int | None = None
        """The device number of the default bridge when it was last found complete."""
        self._making = asyncio.Lock()

    async def get(self, links: Links, name: str) -> Link:
        """The bridge ``name``; the default one is made, or made whole, if it is not there. ``NotFound``."""
        try:
            link = await links.find(name)
            if name == self._default.name:
                if link is not None and link.up and link.index == self._complete:
                    return link
                async with self._making:
                    return await self._ensure_default(links)
            if link is not None and link.kind == BRIDGE:
                return link
            raise not_found(name, await links.bridges(), self._default, exists=link is not None)
        except OSError as error:
            raise refused(f"the bridge {name} can't be had", error) from error

    async def _ensure_default(self, links: Links) -> Link:
        """Idempotent, also against other daemons that do the same now, or died while doing it."""
        name = self._default.name
        link = await links.find(name)
        if link is not None and link.kind != BRIDGE:
            raise ResourceBusy(
                f"{name} is to be the default bridge, and another kind of device has that name",
                hint='remove it, or choose another name in wirt.toml: bridge = "NAME"',
            )
        addresses = await links.addresses()
        missing = link is None or Address(link.index, self._default.address) not in addresses
        if missing:
            self._refuse_collision(address for address in addresses if link is None or address.index != link.index)
        made = link is None and await links.add_bridge(name, fixed_mac(name))
        link = link or await links.find(name)
        if link is None:
            raise Unavailable(f"the bridge {name} was removed while it was made", hint="try again")
        try:
            return await self._complete_default(links, link, missing)
        except BaseException:
            if made:
                with suppress(OSError):
                    await links.delete(link.index)
            raise

    async def _complete_default(self, links: Links, link: Link, missing: bool) -> Link:
        if not link.up:  # an administrator's own, which is up, keeps its settings
            self._isolate()
        if missing:
            await links.add_address(link.index, self._default.address)
        if not link.up:
            await links.set_up(link.index)
        self._complete = link.index
        return link

    def _isolate(self) -> None:
        """Also on a host that forwards for others (Docker), and against guests that advertise themselves as
        routers, which a host that does not forward would believe."""
        name = self._default.name
        try:
            sysctl.ensure("ipv4", name, "forwarding", "0")
            sysctl.ensure("ipv6", name, "disable_ipv6", "1")
        except OSError as error:
            raise refused(f"the bridge {name} can't be isolated", error) from error

    def _refuse_collision(self, others: Iterable[Address]) -> None:
        wanted = self._default.address
        for other in others:
            if other.interface.network.overlaps(wanted.network):
                raise Unavailable(
                    f"the default bridge's network {wanted.network} collides with {other.interface}"
                    f" on {_name_of(other.index)}",
                    hint=f'choose another in wirt.toml: bridge-address = "10.220.0.1/24"; {WITHOUT}',
                )


def not_found(name: str, bridges: Iterable[str], default: DefaultBridge, *, exists: bool) -> NotFound:
    """``exists``: as something else than a bridge."""
    here = ", ".join((f"{default.name} (made on demand)", *(other for other in bridges if other != default.name)))
    if exists:
        return NotFound(f"{name} is not a bridge", hint=f"bridges here: {here}")
    make = f"ip link add {name} type bridge && ip link set {name} up"
    return NotFound(f"there is no bridge {name}", hint=f"bridges here: {here}; make it: {make}")


def _name_of(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"device {index}"
