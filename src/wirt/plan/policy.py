"""What one card may send and be sent: what filters and rate limits are compiled from."""

from __future__ import annotations

from dataclasses import dataclass

from wirt.model.devices import Rate, VifSpec


@dataclass(frozen=True, slots=True)
class PortPolicy:
    """``mac`` is the only address it may send from, unless ``antispoof`` is off; ``addresses`` the only IP
    addresses (without prefix; of none, any). ``rate_out`` is of what the guest sends, ``rate_in`` of what it is
    sent."""

    mac: str
    addresses: tuple[str, ...] = ()
    antispoof: bool = True
    groups: tuple[str, ...] = ()
    rate_out: Rate | None = None
    rate_in: Rate | None = None


def policy_of(vif: VifSpec, mac: str) -> PortPolicy:
    return PortPolicy(
        mac=mac,
        addresses=tuple(address.partition("/")[0] for address in vif.ip),
        antispoof=vif.antispoof,
        groups=vif.groups,
        rate_out=vif.rate,
        rate_in=vif.rate_in,
    )
