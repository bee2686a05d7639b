"""What surrounds a network, for a suite that the fake and the real adapter both pass."""

from __future__ import annotations

import json
import os
import socket
from contextlib import ExitStack
from typing import Any, Protocol

from wirt.model.devices import PortForward, VifKind
from wirt.network import DefaultBridge, FakeNetwork, HostNetwork
from wirt.plan.nics import NicPlan
from wirt.plan.policy import PortPolicy
from wirt.ports.clock import Clock
from wirt.ports.network import Network, Plugged

from .namespace import run


def card(
    tap: str | None = "vif1.0",
    *,
    bridge: str | None = "wirtbr0",
    kind: VifKind = VifKind.BRIDGE,
    mac: str = "00:16:3e:00:00:01",
    index: int = 0,
    mtu: int | None = None,
    forwards: tuple[PortForward, ...] = (),
) -> NicPlan:
    return NicPlan(
        id=f"vif{index}",
        index=index,
        device="virtio-net-pci",
        slot=5,
        mac=mac,
        kind=kind,
        bridge=bridge,
        tap=tap,
        addresses=(),
        mtu=mtu,
        forwards=forwards,
        boot_index=None,
        policy=PortPolicy(mac),
    )


def user_card(*forwards: PortForward, mac: str = "00:16:3e:00:00:01") -> NicPlan:
    return card(None, bridge=None, kind=VifKind.USER, mac=mac, forwards=forwards)


class World(Protocol):
    network: Network

    def taps(self) -> dict[str, str | None]:
        """The bridge of each tap."""
        ...

    def make_bridge(self, name: str) -> None: ...

    def make_device(self, name: str) -> None:
        """Something else than a bridge or a tap of ours."""
        ...

    def take_port(self, protocol: str, port: int) -> None: ...

    def hand_over(self, plugged: Plugged) -> None:
        """To a hypervisor, as its driver does."""
        ...

    def hypervisor_ends(self, plugged: Plugged) -> None: ...

    def led_to(self, mac: str) -> str | None:
        """The tap that a bridge takes to be the way to ``mac``."""
        ...

    def forget_rules(self) -> None:
        """As somebody does who flushes the packet filter by hand."""
        ...


class FakeWorld:
    def __init__(self, clock: Clock) -> None:
        self._fake = FakeNetwork(DefaultBridge(), clock)
        self.network: Network = self._fake

    def taps(self) -> dict[str, str | None]:
        return dict(self._fake.taps)

    def make_bridge(self, name: str) -> None:
        self._fake.bridges.add(name)

    def make_device(self, name: str) -> None:
        self._fake.foreign.add(name)

    def take_port(self, protocol: str, port: int) -> None:
        self._fake.taken.add((protocol, port))

    def hand_over(self, plugged: Plugged) -> None:
        self._fake.hand_over(plugged)

    def hypervisor_ends(self, plugged: Plugged) -> None:
        self._fake.end(plugged)

    def led_to(self, mac: str) -> str | None:
        return self._fake.led.get(mac)

    def forget_rules(self) -> None:
        self._fake.rules.clear()


class HostWorld:
    """The machine, in a namespace that the caller has entered."""

    def __init__(self, clock: Clock, cleanup: ExitStack) -> None:
        self.network: Network = HostNetwork(DefaultBridge(), clock)
        self._cleanup = cleanup
        self._handed: dict[int, int] = {}

    def taps(self) -> dict[str, str | None]:
        return {name: device.get("master") for name, device in devices().items() if kind_of(device) == "tun"}

    def make_bridge(self, name: str) -> None:
        run("ip", "link", "add", name, "type", "bridge")

    def make_device(self, name: str) -> None:
        run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name[:12]}-p")

    def take_port(self, protocol: str, port: int) -> None:
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        taken = self._cleanup.enter_context(socket.socket(socket.AF_INET, kind))
        taken.bind(("127.0.0.1", port))
        if protocol == "tcp":
            taken.listen()

    def hand_over(self, plugged: Plugged) -> None:
        assert plugged.descriptor is not None
        self._handed[id(plugged)] = os.dup(plugged.descriptor)
        os.close(plugged.descriptor)

    def hypervisor_ends(self, plugged: Plugged) -> None:
        os.close(self._handed.pop(id(plugged)))

    def led_to(self, mac: str) -> str | None:
        entries = json.loads(run("bridge", "-j", "fdb", "show"))
        found = [each["ifname"] for each in entries if each["mac"] == mac and each.get("state") != "permanent"]
        return found[0] if found else None

    def forget_rules(self) -> None:
        run("nft", "flush", "ruleset")

    def close(self) -> None:
        for descriptor in self._handed.values():
            os.close(descriptor)


def devices() -> dict[str, dict[str, Any]]:
    """All network devices of this namespace, as ip(8) shows them."""
    return {device["ifname"]: device for device in json.loads(run("ip", "-d", "-j", "address"))}


def kind_of(device: dict[str, Any]) -> object:
    return device.get("linkinfo", {}).get("info_kind")
