"""What the worker says, taken as if it had been taken over: every word is looked at again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from wirt.model.appliance import (
    MOST_CARDS,
    MOST_DISKS,
    MOST_LOST,
    MOST_MEMORY_BYTES,
    MOST_VCPUS,
    VDEV,
    Appliance,
    ApplianceCard,
    ApplianceDisk,
    ApplianceKind,
    Controller,
)
from wirt.model.domain import Firmware
from wirt.model.errors import BadInput
from wirt.model.storage import ImageFormat
from wirt.model.text import plain

MOST_BYTES = 1 << 60
_MOST_WORDS = 400


def objects(out: bytes) -> Iterator[dict[str, Any]]:
    for line in out.splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield found


def complaint(out: bytes, what: str) -> BadInput | None:
    """Why it gave up, if it says so."""
    for found in objects(out):
        if isinstance(found.get("error"), str):
            hint = found.get("hint")
            return BadInput(
                f"{what}: {plain(found['error'])}", hint=plain(hint) if isinstance(hint, str) else None
            )
    return None


def appliance(out: bytes, what: str) -> Appliance:
    for found in objects(out):
        if "appliance" in found:
            try:
                return _appliance(found["appliance"])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise BadInput(f"{what} is described in a way that can't be understood") from error
    raise BadInput(f"{what} can't be read: whoever read it said nothing")


def virtual_size(out: str, what: str) -> int:
    """Of qemu-img's description of an image, in bytes."""
    try:
        size = int(json.loads(out)["virtual-size"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{what}: it is described in a way that can't be understood") from error
    if not 0 < size <= MOST_BYTES:
        raise BadInput(f"{what}: it would have {size} bytes")
    return size


def _appliance(found: dict[str, Any]) -> Appliance:
    return Appliance(
        kind=ApplianceKind(found["kind"]),
        name=_words(found["name"]),
        vcpus=_number(found["vcpus"], MOST_VCPUS),
        memory=_number(found["memory"], MOST_MEMORY_BYTES),
        firmware=Firmware(found["firmware"]),
        boot=None if found["boot"] is None else "".join(each for each in found["boot"] if each in "cdn"),
        disks=tuple(_disk(each) for each in found["disks"][:MOST_DISKS]),
        cards=tuple(_card(each) for each in found["cards"][:MOST_CARDS]),
        lost=tuple(_words(each) for each in found["lost"][: 2 * MOST_LOST]),
        signed=bool(found["signed"]),
    )


def _disk(found: dict[str, Any]) -> ApplianceDisk:
    return ApplianceDisk(
        label=_words(found["label"]),
        format=ImageFormat(found["format"]),
        size=_number(found["size"], MOST_BYTES),
        stored=_number(found["stored"], MOST_BYTES) or 0,
        controller=Controller(found["controller"]),
        cdrom=bool(found["cdrom"]),
        writable=bool(found["writable"]),
        file=None if found["file"] is None else str(found["file"])[:_MOST_WORDS],
        vdev=found["vdev"] if VDEV.fullmatch(found["vdev"]) else "",
    )


def _card(found: dict[str, Any]) -> ApplianceCard:
    mac = found["mac"]
    if mac is not None and (len(mac) != 17 or len(bytes.fromhex(mac.replace(":", ""))) != 6):
        raise ValueError(mac)
    return ApplianceCard(_words(found["network"]), mac, _words(found["model"]))


def _number(value: object, most: int) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(value)
    return value


def _words(value: object) -> str:
    return plain(str(value), _MOST_WORDS)
