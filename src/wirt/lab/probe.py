"""``python -m wirt.lab.probe ADDRESS SECONDS``: exit code 0 if the address answers an echo request (RFC 792) by
then, else 1. Not ping(8), which is a package of its own."""

from __future__ import annotations

import os
import socket
import struct
import sys
import time

ECHO, REPLY = 8, 0
AGAIN_S = 0.3


def echo(number: int, sequence: int) -> bytes:
    """An echo request's bytes."""
    blank = struct.pack("!BBHHH", ECHO, 0, 0, number, sequence)
    return struct.pack("!BBHHH", ECHO, 0, checksum(blank), number, sequence)


def checksum(data: bytes) -> int:
    """The Internet checksum of an even number of bytes (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def answers(address: str, within_s: float) -> bool:
    """Asks again and again. Needs CAP_NET_RAW (raw(7))."""
    number = os.getpid() & 0xFFFF
    deadline = time.monotonic() + within_s
    sequence = 0
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as probe:
        while time.monotonic() < deadline:
            sequence = (sequence + 1) & 0xFFFF
            try:
                probe.sendto(echo(number, sequence), (address, 0))
            except OSError:  # nobody there to ask, so far
                time.sleep(AGAIN_S)
                continue
            if _heard(probe, address, number, min(deadline, time.monotonic() + AGAIN_S)):
                return True
    return False


def _heard(probe: socket.socket, address: str, number: int, until: float) -> bool:
    while (left_s := until - time.monotonic()) > 0:
        probe.settimeout(left_s)
        try:
            packet, (source, _) = probe.recvfrom(2048)
        except TimeoutError:
            return False
        except OSError:
            continue
        message = packet[(packet[0] & 0xF) * 4 :]
        ours = len(message) >= 6 and struct.unpack_from("!H", message, 4)[0] == number
        if ours and source == address and message[0] == REPLY:
            return True
    return False


if __name__ == "__main__":
    sys.exit(0 if answers(sys.argv[1], float(sys.argv[2])) else 1)
