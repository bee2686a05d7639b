"""What one card may send and be sent: what filters and rate limits are compiled from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wirt.model.devices import Rate, VifSpec

_ONE_VLAN = re.compile("[0-9]+[pu]?")
"""A single one, whose tag the bridge puts on and takes off."""


@dataclass(frozen=True, slots=True)
class PortPolicy:
    """``mac`` is the only address it may send from, unless ``antispoof`` is off; ``addresses`` the only IP
    addresses (without prefix; of none, any). ``trunk``: its frames may have VLAN tags. ``rate_out`` is of what the
    guest sends, ``rate_in`` of what it is sent."""

    mac: str
    addresses: tuple[str, ...] = ()
    antispoof: bool = True
    groups: tuple[str, ...] = ()
    rate_out: Rate | None = None
    rate_in: Rate | None = None
    trunk: bool = False


def policy_of(vif: VifSpec, mac: str) -> PortPolicy:
    return PortPolicy(
        mac=mac,
        addresses=tuple(address.partition("/")[0] for address in vif.ip),
        antispoof=vif.antispoof,
        groups=vif.groups,
        rate_out=vif.rate,
        rate_in=vif.rate_in,
        trunk=vif.vlan is not None and _ONE_VLAN.fullmatch(vif.vlan) is None,
    )
