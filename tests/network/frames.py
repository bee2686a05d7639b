"""Ethernet frames, written and read on a tap's descriptor as QEMU does: behind a virtio_net_hdr of 10 bytes."""

from __future__ import annotations

import os
import select
import time

_HEADER = bytes(10)
_EXPERIMENTAL = b"\x88\xb5"  # IEEE 802, local experimental EtherType 1
BROADCAST = "ff:ff:ff:ff:ff:ff"


def frame(destination: str, source: str, payload: bytes) -> bytes:
    head = bytes.fromhex(destination.replace(":", "")) + bytes.fromhex(source.replace(":", "")) + _EXPERIMENTAL
    return (head + payload).ljust(60, b"\0")


def send(descriptor: int, content: bytes) -> None:
    os.write(descriptor, _HEADER + content)


def received(descriptor: int, seconds: float, until: bytes | None = None) -> list[bytes]:
    """The frames that arrive, until one contains ``until`` or ``seconds`` have gone by."""
    frames: list[bytes] = []
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([descriptor], [], [], left)[0]:
            frames.append(os.read(descriptor, 65536)[len(_HEADER) :])
            if until is not None and until in frames[-1]:
                break
    return frames
