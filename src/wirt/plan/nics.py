"""A guest's network cards: model, address, and what they are plugged into."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from wirt.model.devices import NicType, PortForward, VifKind, VifSpec
from wirt.model.domain import DomainConfig, GuestType
from wirt.model.errors import ConfigError
from wirt.plan.host import HostFacts
from wirt.plan.policy import PortPolicy, policy_of

XEN_OUI = "00:16:3e"
"""The range that xl takes generated addresses from (xl-network-configuration(5), "mac")."""

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
    """One card. ``device`` is the emulated or paravirtual model; ``tap`` the host's end when it is bridged."""

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


def plan_nics(
    config: DomainConfig,
    uuid: UUID,
    domid: int,
    host: HostFacts,
    take_slot: Callable[[int], int],
    boot_place: int | None,
) -> tuple[NicPlan, ...]:
    return tuple(
        _plan_nic(config, uuid, domid, host, index, vif, take_slot(index), boot_place)
        for index, vif in enumerate(config.vifs)
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
    if kind is VifKind.BRIDGE and not host.can_bridge:
        raise ConfigError(
            f"vif {index} asks for a bridge, and this user may not make network devices",
            key="vif",
            hint="run wirtd as root, or take user-mode networking: net=user",
        )
    return NicPlan(
        id=f"vif{index}",
        index=index,
        device=_device(config, vif),
        slot=slot,
        mac=mac,
        kind=kind,
        bridge=(vif.bridge or host.default_bridge) if kind is VifKind.BRIDGE else None,
        tap=(vif.vifname or generated_tap(domid, index)) if kind is VifKind.BRIDGE else None,
        addresses=vif.ip,
        mtu=vif.mtu,
        forwards=vif.forwards if kind is VifKind.USER else (),
        boot_index=None if boot_place is None else boot_place * 100 + index,
        policy=policy_of(vif, mac),
        vlan=vif.vlan,
    )


def _kind(vif: VifSpec, host: HostFacts) -> VifKind:
    """A vif that names a bridge means it; one that names nothing takes the best that this user may have."""
    return VifKind.BRIDGE if vif.bridge or host.can_bridge else VifKind.USER


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
    digest = hashlib.blake2s(uuid.bytes + bytes([index])).digest()
    return f"{XEN_OUI}:{digest[0] & 0x7F:02x}:{digest[1]:02x}:{digest[2]:02x}"


def generated_tap(domid: int, index: int) -> str:
    """xl's own name for it, ``vifDOMID.INDEX`` (xl-network-configuration(5), "vifname")."""
    return f"vif{domid}.{index}"
