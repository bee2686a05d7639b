"""Speaking for cards whose guest can't yet: frames go into the bridge through the card's own tap, past its filter,
as if the guest had sent them. So every switch on the way learns where the card is, whatever VLAN it is in."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Sequence
from contextlib import suppress

import structlog

from wirt.ports.network import Plugged

log = structlog.get_logger()

_TUNGETVNETHDRSZ = 0x800454D7  # linux/if_tun.h
_BROADCAST = b"\xff" * 6
_RARP, _ETHERNET, _IP4, _REQUEST_REVERSE = 0x8035, 1, 0x0800, 3  # RFC 903
_SHORTEST_FRAME = 60  # without its checksum (IEEE 802.3)


class TapHerald:
    """Holds taps open beside the hypervisor, until it is closed."""

    def __init__(self, plugged: Sequence[Plugged]) -> None:
        """Before their descriptors have been given away. A card that can't be spoken for is left out."""
        self._taps: list[tuple[int, bytes]] = []
        for card in plugged:
            if card.descriptor is None:
                continue
            try:
                own = fcntl.fcntl(card.descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
            except OSError as error:
                log.warning("nobody speaks for a card until its guest does", card=card.nic.id, error=str(error))
                continue
            self._taps.append((own, announcement(card.nic.mac)))

    def announce(self) -> None:
        for descriptor, frame in self._taps:
            with suppress(OSError):  # a link that is down: then nobody can hear it
                os.write(descriptor, bytes(_header_bytes(descriptor)) + frame)

    def close(self) -> None:
        taps, self._taps = self._taps, []
        for descriptor, _ in taps:
            os.close(descriptor)


def announcement(mac: str) -> bytes:
    """Who asks for an address that nobody gives: all that it does is to name its sender, as a hypervisor's own
    (QEMU, net/announce.c)."""
    own = bytes.fromhex(mac.replace(":", ""))
    asked = struct.pack(">HHBBH", _ETHERNET, _IP4, len(own), 4, _REQUEST_REVERSE) + (own + bytes(4)) * 2
    return (_BROADCAST + own + struct.pack(">H", _RARP) + asked).ljust(_SHORTEST_FRAME, b"\0")


def _header_bytes(descriptor: int) -> int:
    """What stands before each frame, of zeros for one with no offloads. The hypervisor chooses how much it is."""
    return int(struct.unpack("i", fcntl.ioctl(descriptor, _TUNGETVNETHDRSZ, bytes(4)))[0])
