"""A guest's cards as QEMU takes them: the same values make a command line and a QMP command."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from wirt.model.devices import PortForward, VifKind
from wirt.plan.nics import NicPlan

LOOPBACK = "127.0.0.1"

Values = Mapping[str, object]


def card_id(devid: int) -> str:
    """QEMU's name of a card; its network's end (``-netdev``) is :attr:`NicPlan.id`."""
    return f"vif{devid}-device"


def port_id(place: int) -> str:
    return f"port{place}"


def card(nic: NicPlan) -> dict[str, object]:
    """``device_add``'s arguments, and ``-device``'s in this order."""
    values: dict[str, object] = {"driver": nic.device, "id": card_id(nic.index)}
    if nic.kind is not VifKind.NONE:
        values["netdev"] = nic.id
    values["mac"] = nic.mac
    if nic.port is not None:
        values["bus"] = port_id(nic.port)
    else:
        values["addr"] = hex(nic.slot)
    if nic.mtu is not None and nic.device == "virtio-net-pci":
        values["host_mtu"] = nic.mtu
    # Boot code of the card is needed only to boot from it; leaving it out saves start-up time.
    if nic.boot_index is None:
        values["romfile"] = ""
    else:
        values["bootindex"] = nic.boot_index
    return values


def tap(nic: NicPlan, descriptor: str) -> dict[str, object]:
    """``netdev_add``'s arguments. ``descriptor`` is a number that QEMU inherited, or a name given by getfd."""
    return {"type": "tap", "id": nic.id, "fd": descriptor}


def stream(nic: NicPlan, descriptor: str) -> dict[str, object]:
    """A card that another process serves at the other end of a socket, whose number QEMU inherited."""
    return {"type": "stream", "id": nic.id, "server": False, "addr": {"type": "fd", "str": descriptor}}


def socket(nic: NicPlan, handle: str) -> dict[str, object]:
    """The same over the monitor, by the name that getfd gave. ``stream`` says yes to a name and is never
    connected: it connects in a thread of its own (io/channel-socket.c), where QEMU knows no monitor's names."""
    return {"type": "socket", "id": nic.id, "fd": handle}


def user_network(nic: NicPlan, forwards: Sequence[PortForward]) -> dict[str, object]:
    """QEMU's own user-mode network, laid around the card's address when it has one with a prefix. Whoever asks by
    DHCP gets that address."""
    values: dict[str, object] = {"type": "user", "id": nic.id}
    guest = ""
    for address in nic.addresses:
        interface = ipaddress.ip_interface(address)
        # The guest, the host and the name server must be three: that takes a /29.
        if isinstance(interface, ipaddress.IPv4Interface) and interface.network.prefixlen < 30:
            first = interface.network.network_address + 1
            host, dns = [first + step for step in range(3) if first + step != interface.ip][:2]
            guest = str(interface.ip)
            values |= {"net": str(interface.network), "host": str(host), "dns": str(dns), "dhcpstart": guest}
            break
    if forwards:
        values["hostfwd"] = [
            {"str": f"{forward.protocol}:{LOOPBACK}:{forward.host_port}-{guest}:{forward.guest_port}"}
            for forward in forwards
        ]
    return values


def words(values: Values) -> str:
    """As an option's value: the first one stands by itself, a list repeats its key, a value in a value has both
    keys."""
    (_, first), *others = values.items()
    parts = [str(first)]
    for key, value in others:
        if isinstance(value, dict):
            parts += [f"{key}.{inner}={item}" for inner, item in value.items()]
            continue
        each = value if isinstance(value, list) else [value]
        parts += [f"{key}={_word(item)}" for item in each]
    return ",".join(parts)


def _word(value: object) -> object:
    if isinstance(value, bool):
        return "on" if value else "off"
    return value["str"] if isinstance(value, dict) else value
