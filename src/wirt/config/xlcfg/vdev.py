"""Names of virtual disks: ``xvda``, ``sdb3``, ``hdc``, ``d0p1``, ``51712`` (xen-vbd-interface(7)).

wirt takes ``vda`` as well, as another spelling of ``xvda``: on QEMU both become virtio disks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Bus(StrEnum):
    """What kind of disk the guest is to see."""

    XVD = "xvd"
    SD = "sd"
    HD = "hd"


@dataclass(frozen=True, slots=True)
class Vdev:
    """``disk`` counts from 0 on its bus; ``partition`` 0 is the whole disk."""

    bus: Bus
    disk: int
    partition: int = 0


# Highest disk and partition number of each bus.
_LIMITS = {Bus.XVD: ((1 << 20) - 1, 255), Bus.SD: (15, 15), Bus.HD: (3, 63)}
_LETTERS = re.compile(r"(?P<bus>xvd|vd|sd|hd)(?P<disk>[a-z]+)(?P<partition>[1-9][0-9]*)?")
_DIGITS = re.compile(r"d(?P<disk>0x[0-9a-f]+|[0-9]+)p(?P<partition>0x[0-9a-f]+|[0-9]+)")
_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,8}|[0-9]{1,11}")
# Major numbers of a plain number, with the first disk of each.
_MAJORS = {8: (Bus.SD, 0, 16), 202: (Bus.XVD, 0, 16), 3: (Bus.HD, 0, 64), 22: (Bus.HD, 2, 64)}
_EXTENDED = 1 << 28


def parse_vdev(text: str) -> Vdev | None:
    """What ``text`` names, or ``None`` if it is no name of a disk."""
    if len(text) > 32:
        return None
    if match := _LETTERS.fullmatch(text):
        bus = Bus.XVD if match["bus"] == "vd" else Bus(match["bus"])
        return _within(bus, _letters(match["disk"]), int(match["partition"] or 0))
    if text == "d0":
        return Vdev(Bus.XVD, 0)
    if match := _DIGITS.fullmatch(text):
        disk, partition = _integer(match["disk"]), _integer(match["partition"])
        return None if disk is None or partition is None else _within(Bus.XVD, disk, partition)
    if _NUMBER.fullmatch(text):
        number = _integer(text)
        return None if number is None else _from_number(number)
    return None


def _within(bus: Bus, disk: int, partition: int) -> Vdev | None:
    most_disks, most_partitions = _LIMITS[bus]
    return Vdev(bus, disk, partition) if disk <= most_disks and partition <= most_partitions else None


def _letters(text: str) -> int:
    """``a`` is 0, ``z`` 25, ``aa`` 26: as spreadsheets name columns."""
    number = 0
    for letter in text:
        number = number * 26 + ord(letter) - ord("a") + 1
    return number - 1


def _integer(text: str) -> int | None:
    """C's integers: a leading 0 is octal."""
    try:
        return int(text, 8 if text.startswith("0") and text.isdigit() else 0)
    except ValueError:
        return None


def _from_number(number: int) -> Vdev | None:
    if number & _EXTENDED:
        return _within(Bus.XVD, (number & ~_EXTENDED) >> 8, number & 0xFF)
    major, minor = divmod(number, 256)
    if major not in _MAJORS:
        return None
    bus, first, partitions = _MAJORS[major]
    disk, partition = divmod(minor, partitions)
    return _within(bus, first + disk, partition)
