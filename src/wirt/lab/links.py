"""The cables of a lab: two switches, and two links from each host to them; how wide they are, and if they are cut.

A link's rate is held at both of its ends by tbf (tc-tbf(8)): each end limits what it sends.
"""

from __future__ import annotations

import json

from wirt.lab.commands import run
from wirt.lab.errors import LabError
from wirt.lab.plan import BRIDGE, GUESTS, LINKS, MIGRATION, PROBE, HostPlan, LabPlan, burst_bytes

LONGEST_WAIT = "50ms"
"""In an end's queue; what would wait longer is dropped."""


def make_switches(lab: LabPlan) -> None:
    for link in LINKS:
        run("ip", "-n", lab.switches, "link", "add", link, "type", "bridge")
        run("ip", "-n", lab.switches, "link", "set", link, "up")
    run("ip", "-n", lab.switches, "address", "add", PROBE, "dev", GUESTS)


def connect(lab: LabPlan, host: HostPlan) -> None:
    """Both links of ``host``, and its bridge, which has the address that wirtd is told."""
    inside = ("ip", "-n", host.namespace)
    for link in LINKS:
        port = host.port(link)
        run(*inside, "link", "add", link, "type", "veth", "peer", "name", port, "netns", lab.switches)
        run("ip", "-n", lab.switches, "link", "set", port, "master", link, "up")
        run(*inside, "link", "set", link, "up")
    run(*inside, "address", "add", f"{host.address}/24", "dev", MIGRATION)
    run(*inside, "link", "add", BRIDGE, "type", "bridge")
    run(*inside, "link", "set", GUESTS, "master", BRIDGE)
    run(*inside, "address", "add", host.bridge_address, "dev", BRIDGE)
    run(*inside, "link", "set", BRIDGE, "up")


def limit(lab: LabPlan, host: HostPlan, link: str, rate_bits_per_s: int | None) -> None:
    """Both ways; ``None`` is no limit."""
    for namespace, device in _ends(lab, host, link):
        shown = run("tc", "-n", namespace, "-json", "qdisc", "show", "dev", device)
        limited = any(each["kind"] == "tbf" for each in json.loads(shown))
        if rate_bits_per_s is not None:
            burst = str(burst_bytes(rate_bits_per_s))
            words = ("tbf", "rate", f"{rate_bits_per_s}bit", "burst", burst, "latency", LONGEST_WAIT)
            run("tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", *words)
        elif limited:
            run("tc", "-n", namespace, "qdisc", "del", "dev", device, "root")


def cut(lab: LabPlan, host: HostPlan, link: str) -> None:
    """At the switch: the host sees a cable without carrier, and keeps its address."""
    _check(link)
    run("ip", "-n", lab.switches, "link", "set", host.port(link), "down")


def mend(lab: LabPlan, host: HostPlan, link: str) -> None:
    _check(link)
    run("ip", "-n", lab.switches, "link", "set", host.port(link), "up")


def _ends(lab: LabPlan, host: HostPlan, link: str) -> tuple[tuple[str, str], tuple[str, str]]:
    _check(link)
    return (host.namespace, link), (lab.switches, host.port(link))


def _check(link: str) -> None:
    if link not in LINKS:
        raise LabError(f"a host has no link {link}", " or ".join(LINKS))
