"""What a lab is made of: names and addresses, from its name and the number of hosts. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from wirt.lab.errors import LabError

MOST_HOSTS = 9
"""So that the host's number is the last digit of its addresses."""
BRIDGE = "wirtbr0"
MIGRATION, GUESTS = "migration", "guests"
LINKS = (MIGRATION, GUESTS)
PROBE = "10.219.0.254/24"
"""Of the switch between the hosts' guests: from there a guest is reached wherever it runs."""
PEER_PORT = 16509
SHARED_POOL = "shared"
_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")
_RATE = re.compile(r"(\d+(?:\.\d+)?)([KMG]?)(?:bit)?")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
SLOWEST_BITS_PER_S = 64_000
FASTEST_BITS_PER_S = 100 * 10**9


@dataclass(frozen=True, slots=True)
class HostPlan:
    """``number`` counts from 1."""

    lab: str
    number: int
    directory: Path
    """The lab's."""

    @property
    def name(self) -> str:
        return f"h{self.number}"

    @property
    def namespace(self) -> str:
        return f"wirt-{self.lab}-{self.name}"

    @property
    def home(self) -> Path:
        return self.directory / self.name

    @property
    def address(self) -> str:
        """On the migration network, whose prefix is 24."""
        return f"10.99.0.{self.number}"

    @property
    def bridge_address(self) -> str:
        """On the guests' network. Each host has another one there, or their answers to ARP would clash."""
        return f"10.219.0.{200 + self.number}/24"

    def port(self, link: str) -> str:
        """The end of ``link`` that is at the switch; the end at the host is called as the link is."""
        return f"{link}-{self.name}"


@dataclass(frozen=True, slots=True)
class LabPlan:
    name: str
    directory: Path
    hosts: tuple[HostPlan, ...]

    @property
    def shared(self) -> Path:
        """Of the pool that all hosts have."""
        return self.directory / "shared"

    @property
    def switches(self) -> str:
        """The namespace of the two switches."""
        return f"wirt-{self.name}-net"

    @property
    def namespaces(self) -> tuple[str, ...]:
        return (self.switches, *(host.namespace for host in self.hosts))

    def host(self, name: str) -> HostPlan:
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(f"the lab {self.name} has no host {name}", ", ".join(host.name for host in self.hosts))


def lab_plan(name: str, hosts: int, directory: Path) -> LabPlan:
    if not _NAME.fullmatch(name):
        raise LabError(f"a lab can't be called {name!r}", "a letter, then up to 15 small letters and digits")
    if not 1 <= hosts <= MOST_HOSTS:
        raise LabError(f"a lab can't have {hosts} hosts", f"from 1 to {MOST_HOSTS}")
    return LabPlan(name, directory, tuple(HostPlan(name, number + 1, directory) for number in range(hosts)))


def bits_per_s(text: str) -> int | None:
    """``10M`` is 10^7 bit/s; ``none`` is no limit."""
    if text == "none":
        return None
    found = _RATE.fullmatch(text)
    if found is None:
        raise LabError(f"{text} is no bandwidth", "in bit/s, as in 10M, 1G or 500Mbit; or none")
    return checked_rate(round(float(found[1]) * _UNITS[found[2]]))


def checked_rate(rate: int) -> int:
    if not SLOWEST_BITS_PER_S <= rate <= FASTEST_BITS_PER_S:
        raise LabError(f"a link can't have {rate} bit/s", "from 64K to 100G, or none for no limit")
    return rate


def burst_bytes(rate_bits_per_s: int) -> int:
    """tbf's bucket: what passes in 4 ms, a tick of a slow kernel clock, and never less than a full frame
    (tc-tbf(8))."""
    return max(32 * 1024, rate_bits_per_s // 8 // 250)
