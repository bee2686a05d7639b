"""What a guest agent answers, taken for what it is said to be only after a look (QEMU docs/interop/qemu-ga-ref).

All of it is the guest's word: texts are made printable and cut, lists are bounded, numbers have their range.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.text import plain
from wirt.model.vcpus import GuestVcpu
from wirt.ports.guest_agent import AgentInfo, GuestInterface

MOST_TEXT = 120
MOST_COMMANDS = 500
MOST_INTERFACES = 64
MOST_ADDRESSES = 64
MOST_FILE_SYSTEMS = 10_000
MOST_VCPUS = 4096

_COMMAND = re.compile(r"[a-z][a-z0-9-]{0,79}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def count(answer: object) -> int:
    """Of file systems, from guest-fsfreeze-freeze and guest-fsfreeze-thaw."""
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer <= MOST_FILE_SYSTEMS:
        raise Malformed("no number of file systems that could be one")
    return answer


def time_s(answer: object) -> float:
    """Seconds since the epoch, from guest-get-time, which tells nanoseconds."""
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < 1 << 63:
        raise Malformed("no time that could be one")
    return answer / 1e9


def frozen(answer: object) -> bool:
    """From guest-fsfreeze-status."""
    if answer not in ("frozen", "thawed"):
        raise Malformed("no state that file systems have")
    return answer == "frozen"


def info(answer: object) -> AgentInfo:
    """From guest-info."""
    told = _object(answer)
    listed = _list(told.get("supported_commands"), MOST_COMMANDS)
    return AgentInfo(_text(told.get("version")), frozenset(_commands(listed)))


def _commands(listed: list[Any]) -> Iterator[str]:
    for each in listed:
        name = _object(each).get("name")
        if not isinstance(name, str) or not _COMMAND.fullmatch(name):
            raise Malformed("a command with no name that could be one")
        if each.get("enabled") is True:
            yield name


def system(answer: object) -> tuple[str, str]:
    """The operating system and its kernel, in words, from guest-get-osinfo, of which each part may be missing."""
    told = _object(answer)
    return _text(told.get("pretty-name") or told.get("name") or ""), _text(told.get("kernel-release") or "")


def interfaces(answer: object) -> tuple[GuestInterface, ...]:
    """From guest-network-get-interfaces."""
    return tuple(_interface(_object(each)) for each in _list(answer, MOST_INTERFACES))


def _interface(told: dict[str, Any]) -> GuestInterface:
    mac = told.get("hardware-address", "")
    if not isinstance(mac, str) or (mac and not _MAC.fullmatch(mac.lower())):
        raise Malformed("a card with no address that could be one")
    addresses = _list(told.get("ip-addresses", []), MOST_ADDRESSES)
    return GuestInterface(
        _text(told.get("name")), mac.lower(), tuple(_address(_object(each)) for each in addresses)
    )


def _address(told: dict[str, Any]) -> str:
    text, prefix = told.get("ip-address"), told.get("prefix")
    if not isinstance(text, str) or not isinstance(prefix, int) or isinstance(prefix, bool):
        raise Malformed("an address that is none")
    try:
        # A zone is the guest's own name for a card, and means nothing here.
        address = ip_address(text.partition("%")[0])
    except ValueError:
        raise Malformed("an address that is none") from None
    if not 0 <= prefix <= address.max_prefixlen:
        raise Malformed("a prefix that is none")
    return f"{address}/{prefix}"


def vcpus(answer: object) -> tuple[GuestVcpu, ...]:
    """From guest-get-vcpus."""
    found = tuple(_vcpu(_object(each)) for each in _list(answer, MOST_VCPUS))
    if len({vcpu.number for vcpu in found}) != len(found):
        raise Malformed("the same vCPU twice")
    return found


def _vcpu(told: dict[str, Any]) -> GuestVcpu:
    number, online, loose = told.get("logical-id"), told.get("online"), told.get("can-offline", True)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 31:
        raise Malformed("a vCPU with no number that could be one")
    if not isinstance(online, bool) or not isinstance(loose, bool):
        raise Malformed("a vCPU that is neither online nor offline")
    return GuestVcpu(number, online, fixed=not loose)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed("an answer of another shape")
    return value


def _list(value: object, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise Malformed("an answer of another shape")
    if len(value) > most:
        raise Malformed(f"a list of more than {most}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Malformed("no text where one should be")
    return plain(value, MOST_TEXT)
