"""Which addresses DHCP has given to guests: what dnsmasq has written down, and no guest is asked."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from wirt.model.errors import WirtError
from wirt.operations.environment import Environment
from wirt.wire import v1


async def with_leases(environment: Environment, domains: Sequence[v1.Domain]) -> list[v1.Domain]:
    """Those of cards that are there; what has run out is no address any more."""
    given = await _given(environment) if any(domain.vifs for domain in domains) else {}
    if not given:
        return list(domains)
    return [replace(domain, vifs=[_with(vif, given) for vif in domain.vifs]) for domain in domains]


def _with(vif: v1.Vif, given: dict[str, list[str]]) -> v1.Vif:
    return vif if vif.state == "off" else replace(vif, leases=given.get(vif.mac.lower(), []))


async def _given(environment: Environment) -> dict[str, list[str]]:
    """By MAC."""
    found = defaultdict[str, list[str]](list)
    fabric, now = environment.fabric, environment.clock.now()
    if fabric is None:
        return found
    for network in environment.networks:
        with contextlib.suppress(WirtError):
            for lease in await fabric.leases(network.config.name):
                if lease.until is None or lease.until > now:
                    found[lease.mac.lower()].append(lease.address)
    return found
