"""Packets as a hostile guest would make them, byte by byte (RFC 791, 792, 768, 826, 2131, 4861, 8200)."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

BROADCAST = "ff:ff:ff:ff:ff:ff"
ARP, IP, IP6, TAGGED = 0x0806, 0x0800, 0x86DD, 0x8100
ICMP, TCP, UDP, ICMP6, FRAGMENT = 1, 6, 17, 58, 44
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def ether(destination: str, source: str, kind: int, payload: bytes) -> bytes:
    return (mac_bytes(destination) + mac_bytes(source) + struct.pack("!H", kind) + payload).ljust(60, b"\0")


def tagged(frame: bytes, vlan: int, kind: int = TAGGED) -> bytes:
    return frame[:12] + struct.pack("!HH", kind, vlan) + frame[12:]


def checksum(content: bytes) -> int:
    if len(content) % 2:
        content += b"\0"
    total = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~int(total) & 0xFFFF


def arp(operation: int, sender_mac: str, sender: str, target: str, target_mac: str = "00:00:00:00:00:00") -> bytes:
    head = struct.pack("!HHBBH", 1, IP, 6, 4, operation)
    return b"".join(
        (
            head,
            mac_bytes(sender_mac),
            IPv4Address(sender).packed,
            mac_bytes(target_mac),
            IPv4Address(target).packed,
        )
    )


def ip(
    source: str, destination: str, protocol: int, payload: bytes, *, offset: int = 0, more: bool = False
) -> bytes:
    """IPv4, or IPv6 with a fragment header if ``offset`` (in bytes) or ``more`` say so."""
    here, there = ip_address(source), ip_address(destination)
    if isinstance(here, IPv6Address):
        fragment = offset or more
        body = struct.pack("!BBHI", protocol, 0, offset | more, 77) + payload if fragment else payload
        head = struct.pack("!IHBB", 6 << 28, len(body), FRAGMENT if fragment else protocol, 255)
        return head + here.packed + there.packed + body
    flags = offset // 8 | (0x2000 if more else 0)
    fields = (0x45, 0, 20 + len(payload), 77, flags, 64, protocol)
    head = struct.pack("!BBHHHBBH", *fields, 0) + here.packed + there.packed
    return struct.pack("!BBHHHBBH", *fields, checksum(head)) + here.packed + there.packed + payload


def transport(source: str, destination: str, protocol: int, content: bytes, at: int) -> bytes:
    """``content`` with the checksum at byte ``at`` filled in (RFC 8200, 8.1)."""
    ends = ip_address(source).packed + ip_address(destination).packed
    pseudo = ends + struct.pack("!II", len(content), protocol)
    return content[:at] + struct.pack("!H", checksum(pseudo + content)) + content[at + 2 :]


def udp(source: str, sport: int, destination: str, dport: int, content: bytes) -> bytes:
    head = struct.pack("!HHHH", sport, dport, 8 + len(content), 0)
    return ip(source, destination, UDP, transport(source, destination, UDP, head + content, 6))


def tcp(source: str, sport: int, destination: str, dport: int, flags: int, content: bytes = b"") -> bytes:
    head = struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 5 << 4, flags, 1024, 0, 0)
    return ip(source, destination, TCP, transport(source, destination, TCP, head + content, 16))


def ping(source: str, destination: str, *, answer: bool = False, content: bytes = b"ping") -> bytes:
    if ip_address(source).version == 6:
        return icmp6(source, destination, 129 if answer else 128, struct.pack("!HH", 1, 1) + content)
    body = struct.pack("!BBHHH", 0 if answer else 8, 0, 0, 1, 1) + content
    return ip(source, destination, ICMP, body[:2] + struct.pack("!H", checksum(body)) + body[4:])


def icmp6(source: str, destination: str, kind: int, body: bytes) -> bytes:
    content = struct.pack("!BBH", kind, 0, 0) + body
    return ip(source, destination, ICMP6, transport(source, destination, ICMP6, content, 2))


def option(kind: int, mac: str) -> bytes:
    return struct.pack("!BB", kind, 1) + mac_bytes(mac)


def solicit(source: str, target: str, options: bytes = b"") -> bytes:
    return icmp6(source, "ff02::1", 135, bytes(4) + IPv6Address(target).packed + options)


def advert(source: str, target: str, options: bytes = b"") -> bytes:
    return icmp6(source, "ff02::1", 136, b"\x20" + bytes(3) + IPv6Address(target).packed + options)


def bootp(mac: str, operation: int, content: bytes = b"") -> bytes:
    """A message of DHCP with nothing in it but the card's address."""
    head = struct.pack("!BBBBI", operation, 1, 6, 0, 1) + bytes(20)
    return head + mac_bytes(mac).ljust(16, b"\0") + bytes(192) + bytes.fromhex("63825363") + content + b"\xff"
