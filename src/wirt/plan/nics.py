"""A guest's network cards: model, address, and what they are plugged into."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from uuid import UUID

from wirt.model.devices import NicType, PortForward, VifKind, VifSpec, devids
from wirt.model.domain import DomainConfig, GuestType
from wirt.model.errors import ConfigError
from wirt.plan.host import HostFacts
from wirt.plan.networks_cards import bridge_of, network_of
from wirt.plan.policy import PortPolicy, policy_of
from wirt.plan.scripts import script_path

XEN_OUI = "00:16:3e"
"""The range that xl takes generated addresses from (xl-network-configuration(5), "mac")."""
PLACES = 8
"""Where cards can come and go while the guest runs: PCI Express root ports, the eight functions of one slot. A
card's devid is its place, so that a later start, or another host, puts each card where the guest knows it."""

_QEMU_MODELS = {
    "virtio": "virtio-net-pci",
    "virtio-net": "virtio-net-pci",
    "virtio-net-pci": "virtio-net-pci",
    "e1000": "e1000",
    "e1000e": "e1000e",
    "rtl8139": "rtl8139",
    "vmxnet3": "vmxnet3",
    "ne2k_pci": "ne2k_pci",
    "pcnet": "pcnet",
}


@dataclass(frozen=True, slots=True)
class NicPlan:
    """One card. ``index`` is its devid, ``device`` the emulated or paravirtual model, ``tap`` the host's end when
    it is bridged. It sits in the root port ``port`` or, when that is ``None``, in ``slot`` of the root bus: such a
    card can't be attached or detached while the guest runs."""

    id: str
    index: int
    device: str
    slot: int
    mac: str
    kind: VifKind
    bridge: str | None
    tap: str | None
    addresses: tuple[str, ...]
    mtu: int | None
    forwards: tuple[PortForward, ...]
    boot_index: int | None
    policy: PortPolicy
    vlan: str | None = None
    port: int | None = None
    script: str | None = None
    """A program that plugs the tap in, in wirt's place."""
    gatewaydev: str | None = None


def plan_nics(
    config: DomainConfig,
    uuid: UUID,
    domid: int,
    host: HostFacts,
    take_slot: Callable[[int], int],
    boot_place: int | None,
) -> tuple[NicPlan, ...]:
    """``take_slot`` gives a card without a place one on the root bus."""
    return tuple(
        _plan_nic(config, uuid, domid, host, index, vif, 0 if index < PLACES else take_slot(index), boot_place)
        for index, vif in zip(devids(config.vifs), config.vifs, strict=True)
    )


def _plan_nic(
    config: DomainConfig,
    uuid: UUID,
    domid: int,
    host: HostFacts,
    index: int,
    vif: VifSpec,
    slot: int,
    boot_place: int | None,
) -> NicPlan:
    kind = vif.kind or _kind(vif, host)
    mac = vif.mac or generated_mac(uuid, index)
    network = network_of(vif, index, host)
    if kind is VifKind.BRIDGE and not host.can_bridge:
        raise ConfigError(
            f"vif {index} asks for a bridge, and this user may not make network devices",
            key="vif",
            hint="run wirtd as root, or take user-mode networking: net=user",
        )
    _check_groups(vif, index, kind, host.security_groups)
    return NicPlan(
        id=f"vif{index}",
        index=index,
        device=_device(config, vif),
        slot=slot,
        mac=mac,
        kind=kind,
        bridge=bridge_of(vif, network, host) if kind is VifKind.BRIDGE else None,
        tap=(vif.vifname or generated_tap(domid, index)) if kind is VifKind.BRIDGE else None,
        addresses=vif.ip,
        mtu=vif.mtu or (network.mtu if network is not None else None),
        forwards=vif.forwards if kind is VifKind.USER else (),
        boot_index=None if boot_place is None else boot_place * 100 + index,
        policy=policy_of(vif, mac),
        vlan=vif.vlan,
        port=index if index < PLACES else None,
        script=script_path(vif.script) if kind is VifKind.BRIDGE else None,
        gatewaydev=vif.gatewaydev,
    )


def _check_groups(vif: VifSpec, index: int, kind: VifKind, known: frozenset[str]) -> None:
    """A card that is not filtered as it asks to be is no card."""
    for name in vif.groups:
        if name not in known:
            close = get_close_matches(name, sorted(known), n=3, cutoff=0.5)
            near = f"did you mean {' or '.join(close)}? " if close else ""
            raise ConfigError(
                f"vif {index} is in the security group {name}, which is not there",
                key="vif",
                hint=f"{near}wirt security-group list shows all, wirt security-group create makes one",
            )
    if vif.groups and kind is not VifKind.BRIDGE:
        raise ConfigError(
            f"vif {index} is in security groups, and nothing filters a card that is in no bridge",
            key="vif",
            hint="plug it into a bridge, or leave groups= out",
        )


def _kind(vif: VifSpec, host: HostFacts) -> VifKind:
    """A vif that names a bridge means it; one that names nothing takes the best that this user may have."""
    return VifKind.BRIDGE if vif.bridge or vif.network or host.can_bridge else VifKind.USER


def _device(config: DomainConfig, vif: VifSpec) -> str:
    if vif.model is not None:
        if vif.model not in _QEMU_MODELS:
            known = ", ".join(sorted(_QEMU_MODELS))
            raise ConfigError(f"no card of model {vif.model}", key="vif", hint=f"known are: {known}")
        return _QEMU_MODELS[vif.model]
    emulated = config.type is GuestType.HVM and vif.type is not NicType.VIF
    return "e1000" if emulated else "virtio-net-pci"


def generated_mac(uuid: UUID, index: int) -> str:
    """The same domain always gets the same address: no random number is needed, none can be lost."""
    digest = hashlib.blake2s(uuid.bytes + index.to_bytes(1 if index < 256 else 2)).digest()
    return f"{XEN_OUI}:{digest[0] & 0x7F:02x}:{digest[1]:02x}:{digest[2]:02x}"


def generated_tap(domid: int, index: int) -> str:
    """xl's own name for it, ``vifDOMID.INDEX`` (xl-network-configuration(5), "vifname")."""
    return f"vif{domid}.{index}"
