"""A card's VLANs on a bridge that tells them apart (bridge(8), vlan)."""

from __future__ import annotations

from wirt.model.errors import BadInput
from wirt.network.fabric_links import FabricLinks
from wirt.network.links import Link, Links
from wirt.plan.vlans import membership


async def attach(links: Links, index: int, bridge: Link, mtu: int, vlan: str) -> None:
    """As ``Links.attach``, in the VLANs of ``vlan`` (xl's ``vlan=``) and in no other: the port is down until it
    is. ``BadInput`` if the bridge tells none apart."""
    more = FabricLinks.of(links)
    state = (await more.states(frozenset({bridge.name}))).get(bridge.name)
    if state is None or not state.filtering:
        raise BadInput(
            f"vlan={vlan}: the bridge {bridge.name} tells no VLANs apart",
            hint=f"wirt network create NAME --vlan-filtering, or: ip link set {bridge.name} type bridge"
            " vlan_filtering 1",
        )
    await more.enslave(index, bridge.index, mtu)
    await more.set_vlans(index, membership(vlan))
    await links.set_up(index)
