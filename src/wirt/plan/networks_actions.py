"""What can be done to the host's networks: each action is data, says itself in a sentence, and may be repeated."""

from __future__ import annotations

from dataclasses import dataclass

from wirt.model.network import Vxlan
from wirt.plan.networks_shares import Sharing
from wirt.plan.networks_state import Interface
from wirt.plan.vlans import VlanMembership


@dataclass(frozen=True, slots=True)
class AddBridge:
    network: str
    name: str
    mac: str
    mtu: int | None = None
    filtering: bool = False

    def __str__(self) -> str:
        return f"make the bridge {self.name}" + (", which tells VLANs apart" if self.filtering else "")


@dataclass(frozen=True, slots=True)
class AddVlan:
    network: str
    name: str
    mac: str
    uplink: str
    vlan: int

    def __str__(self) -> str:
        return f"make {self.name}, VLAN {self.vlan} of {self.uplink}"


@dataclass(frozen=True, slots=True)
class AddVxlan:
    """Its peers are added one by one afterwards."""

    network: str
    name: str
    mac: str
    vxlan: Vxlan

    def __str__(self) -> str:
        return f"make {self.name}, VXLAN {self.vxlan.vni} from {self.vxlan.local}"


@dataclass(frozen=True, slots=True)
class DeleteDevice:
    network: str
    name: str
    mac: str
    """Whatever has that name and another address is not meant."""

    def __str__(self) -> str:
        return f"remove the device {self.name}"


@dataclass(frozen=True, slots=True)
class SetMtu:
    network: str
    name: str
    mtu: int

    def __str__(self) -> str:
        return f"set the MTU of {self.name} to {self.mtu}"


@dataclass(frozen=True, slots=True)
class SetFiltering:
    network: str
    name: str

    def __str__(self) -> str:
        return f"let the bridge {self.name} tell VLANs apart"


@dataclass(frozen=True, slots=True)
class JoinBridge:
    """A port of wirt's, or an uplink; ``vlans`` of a guest's card that has some."""

    network: str
    name: str
    bridge: str
    vlans: VlanMembership | None = None

    def __str__(self) -> str:
        return f"put {self.name} into the bridge {self.bridge}"


@dataclass(frozen=True, slots=True)
class SetUp:
    network: str
    name: str

    def __str__(self) -> str:
        return f"set {self.name} up"


@dataclass(frozen=True, slots=True)
class AddAddress:
    network: str
    name: str
    address: Interface

    def __str__(self) -> str:
        return f"give {self.name} the address {self.address}"


@dataclass(frozen=True, slots=True)
class SetSysctl:
    network: str
    family: str
    device: str
    setting: str
    value: str

    def __str__(self) -> str:
        return f"set net.{self.family}.conf.{self.device}.{self.setting} to {self.value}"


@dataclass(frozen=True, slots=True)
class AddPeer:
    network: str
    name: str
    peer: str

    def __str__(self) -> str:
        return f"let {self.name} reach {self.peer}"


@dataclass(frozen=True, slots=True)
class RemovePeer:
    network: str
    name: str
    peer: str

    def __str__(self) -> str:
        return f"let {self.name} no longer reach {self.peer}"


@dataclass(frozen=True, slots=True)
class SetRules:
    """Replaces wirt's own table in one transaction. ``rules`` is canonical text; ``None`` removes it."""

    network: str
    rules: str | None

    def __str__(self) -> str:
        if self.rules is None:
            return "remove the rules between networks"
        return "put the rules between networks into force"


@dataclass(frozen=True, slots=True)
class StartServer:
    """In the place of one that runs, if one does."""

    network: str
    device: str
    config: str
    hosts: str

    def __str__(self) -> str:
        return f"start dnsmasq on {self.device}"


@dataclass(frozen=True, slots=True)
class ReloadServer:
    network: str
    hosts: str

    def __str__(self) -> str:
        return "tell dnsmasq the guests' names and addresses"


@dataclass(frozen=True, slots=True)
class StopServer:
    """Nothing of it is left, its leases neither."""

    network: str

    def __str__(self) -> str:
        return "end dnsmasq"


@dataclass(frozen=True, slots=True)
class SetSharing:
    """In the place of any before on that device."""

    network: str
    sharing: Sharing

    def __str__(self) -> str:
        return f"share {self.sharing.device} among {len(self.sharing.shares)} cards by weight"


@dataclass(frozen=True, slots=True)
class EndSharing:
    network: str
    device: str

    def __str__(self) -> str:
        return f"share {self.device} no longer"


Action = (
    AddBridge
    | AddVlan
    | AddVxlan
    | DeleteDevice
    | SetMtu
    | SetFiltering
    | JoinBridge
    | SetUp
    | AddAddress
    | SetSysctl
    | AddPeer
    | RemovePeer
    | SetRules
    | StartServer
    | ReloadServer
    | StopServer
    | SetSharing
    | EndSharing
)
