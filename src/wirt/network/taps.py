"""Taps: the host's end of a guest's card (Linux, Documentation/networking/tuntap.rst).

A tap is made without ``TUNSETPERSIST``, so that it lives exactly as long as someone holds its descriptor: no
crash of guest or daemon leaves one behind.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wirt.model.errors import BadInput, ResourceBusy
from wirt.network import sysctl
from wirt.network.links import index_of
from wirt.network.refusals import refused
from wirt.plan.nics import NicPlan

DEVICE = "/dev/net/tun"

# linux/if_tun.h
_TUNSETIFF, _TUNGETIFF = 0x400454CA, 0x800454D2
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
# With it, an existing device is never joined: without it a persistent tap of somebody else would be.
_IFF_TUN_EXCL = 0x8000
# QEMU asks for the flags (TUNGETIFF) and uses the header for virtio's offloads, or fills it with zeros for a
# card that has none (qemu, net/tap.c).
_FLAGS = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_TUN_EXCL
_IFREQ = struct.Struct("16sH22x")

_NS_GET_USERNS = 0xB701  # ioctl_ns(2)
_CAP_NET_ADMIN = 12  # capabilities(7)

_GENERATED = re.compile(r"vif\d+\.\d+")
_VALID = re.compile(r"(?!\.{1,2}\Z)[^\s/:%]+")  # the kernel takes a % for a pattern
_LONGEST_NAME = 15  # IFNAMSIZ, less its end
_SUBSTITUTES = 16


@dataclass(frozen=True, slots=True)
class Tap:
    """``index`` is the kernel's number of the device: a later tap of the same name has another."""

    descriptor: int
    name: str
    index: int


def card_of(nic: NicPlan) -> object:
    """What makes two plans the same card of the same guest."""
    return nic.mac, nic.index, nic.tap


def can_make_taps() -> bool:
    """Whether this process may make network devices in its network namespace, found out without making one."""
    return _has_net_admin() and _owns_namespace() and _device_opens()


def open_tap(nic: NicPlan) -> Tap:
    """A new tap, down and in no bridge, called ``nic.tap`` if that is free. The caller closes its descriptor.

    A name that wirt made up gives way to another when it is taken (two hosts on one machine both have a
    ``vif1.0``); one that the user chose is a promise. Errors: ``ResourceBusy`` (chosen and taken), ``BadInput``
    (no name for a device), ``Unavailable`` (the kernel refuses).
    """
    what = f"no tap can be made for {nic.id}"
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise refused(f"{what}, {DEVICE} does not open", error) from error
    try:
        for name in names(nic):
            if _create(descriptor, name):
                return Tap(descriptor, name, index_of(name) or 0)
        raise name_taken(nic)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError):
            raise refused(what, error) from error
        raise


def names(nic: NicPlan) -> Iterator[str]:
    """What the card's tap may be called: the plan's wish, then substitutes if that was none of the user's.

    They depend on the card alone. ``BadInput`` for a wish that can't be a device's name.
    """
    if nic.tap is not None:
        if len(os.fsencode(nic.tap)) > _LONGEST_NAME or not _VALID.fullmatch(nic.tap):
            raise BadInput(
                f"{nic.tap!r} can't be the name of {nic.id}'s tap",
                hint=f"a network device's name has 1 to {_LONGEST_NAME} characters without space, /, : or %",
            )
        yield nic.tap
    if nic.tap is None or _GENERATED.fullmatch(nic.tap):
        for attempt in range(_SUBSTITUTES):
            seed = f"{nic.mac} {nic.index} {nic.tap} {attempt}".encode()
            yield "w" + hashlib.blake2s(seed, digest_size=7).hexdigest()


def name_taken(nic: NicPlan) -> ResourceBusy:
    return ResourceBusy(
        f"the name {nic.tap} of {nic.id}'s tap is taken by another network device",
        hint=f"see what it is (ip -d link show {nic.tap}), and choose another vifname= or leave it out",
    )


def silence(name: str) -> None:
    """Keep the host's IPv6 off the tap: no address of its own, nothing sent to the guest unasked.

    To be called before the tap is up. Where /proc/sys is read-only the tap still takes nothing in, since its
    bridge takes each frame first; what remains are the host's solicitations to the guest.
    """
    with suppress(OSError):
        sysctl.ensure("ipv6", name, "disable_ipv6", "1")


def holds(descriptor: int, tap: Tap) -> bool:
    """Whether ``descriptor`` of this process is that very tap still, and not something opened since."""
    try:
        answer = fcntl.ioctl(descriptor, _TUNGETIFF, bytes(_IFREQ.size))
    except OSError:
        return False
    return bytes(answer[:16]).rstrip(b"\0") == os.fsencode(tap.name) and index_of(tap.name) == tap.index


def _create(descriptor: int, name: str) -> bool:
    """``False`` if the name is taken."""
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, _IFREQ.pack(os.fsencode(name), _FLAGS))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    return True


def _has_net_admin() -> bool:
    try:
        status = Path("/proc/thread-self/status").read_text()
    except OSError:
        return False
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return effective is not None and bool(int(effective[1], 16) >> _CAP_NET_ADMIN & 1)


def _owns_namespace() -> bool:
    """Root of a user namespace has every capability, and yet none over a network that it was not given."""
    try:
        with Path("/proc/thread-self/ns/net").open("rb") as namespace:
            os.close(fcntl.ioctl(namespace, _NS_GET_USERNS))
    except OSError as error:
        return error.errno != errno.EPERM
    return True


def _device_opens() -> bool:
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True
