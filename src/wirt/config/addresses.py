"""``HOST:PORT`` and ranges of ports, as people write them."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address

from wirt.model.errors import BadInput
from wirt.model.peer import Address

PEER_PORT = 16509
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\Z")
_HIGHEST = 65535


def parse_address(text: str, default_port: int = PEER_PORT) -> Address:
    """``HOST``, ``HOST:PORT``, ``[IPv6]``, ``[IPv6]:PORT``. ``BadInput`` says what was expected."""
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]+))?", text)
    if bracketed:
        host, port = bracketed.groups()
        try:
            IPv6Address(host)
        except AddressValueError as error:
            raise BadInput(f"{host} is no IPv6 address", hint="as in [2001:db8::1]:16509") from error
        return Address(host, _port(port, default_port))
    host, colon, port = text.partition(":")
    if not _HOST.match(host) or (colon and not port):
        raise BadInput(f"{text[:80]} is no address", hint="HOST or HOST:PORT, as in 10.99.0.2:16509")
    return Address(host, _port(port, default_port))


def parse_ports(text: str) -> range:
    """``FIRST-LAST``, both included. ``BadInput`` says what was expected."""
    found = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text)
    if not found or not 0 < int(found[1]) <= int(found[2]) <= _HIGHEST:
        raise BadInput(f"{text[:80]} is no range of ports", hint="as in 49152-49215")
    return range(int(found[1]), int(found[2]) + 1)


def _port(text: str | None, default: int) -> int:
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 5 or not 0 < int(text) <= _HIGHEST:
        raise BadInput(f"{text[:20]} is no port", hint=f"1 to {_HIGHEST}")
    return int(text)
