"""What a saved guest's file says of it, and whether it can go on here: pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar
from uuid import UUID

from wirt.model.cpu import LONGEST_CHOICE, MOST_FEATURES, CpuOffer, GivenCpu, is_feature, parse_choice
from wirt.model.errors import BadInput, CorruptState
from wirt.model.memory import OLD_PADDING_KIB
from wirt.model.saved import SavedDisk, SavedGuest
from wirt.plan.cpu import lacking, other_cpu, words
from wirt.plan.launch import LaunchPlan

T = TypeVar("T")

MOST_WORDS = 4096
MOST_TEXT = 2 * 1024 * 1024
MOST_ITEMS = 512
_MOST = 1 << 62


def write_guest(guest: SavedGuest) -> bytes:
    values = {**asdict(guest), "uuid": str(guest.uuid), "version": list(guest.version)}
    cpu = None if guest.cpu is None else {**asdict(guest.cpu), "features": sorted(guest.cpu.features)}
    return _write({**values, "hardware": dict(guest.hardware), "cpu": cpu})


def read_guest(data: bytes, what: str) -> SavedGuest:
    """``CorruptState`` names ``what``. The text in it is not looked at yet."""

    def build(body: dict[str, Any]) -> SavedGuest:
        hardware = body["hardware"]
        if not isinstance(hardware, dict) or len(hardware) > MOST_ITEMS:
            raise ValueError("hardware is no list of names")
        first, second, third = (_int(each, "version") for each in _items(body, "version"))
        return SavedGuest(
            id=_word(body, "id"),
            uuid=UUID(_word(body, "uuid")),
            name=_word(body, "name"),
            text=_word(body, "text", most=MOST_TEXT),
            persistent=_bool(body, "persistent"),
            epoch=_int(body["epoch"], "epoch"),
            domid=_int(body["domid"], "domid"),
            created_at=_time(body["created_at"]),
            host=_word(body, "host"),
            hypervisor=_word(body, "hypervisor"),
            version=(first, second, third),
            memory_mib=_int(body["memory_mib"], "memory_mib"),
            padding_kib=_int(body.get("padding_kib", OLD_PADDING_KIB), "padding_kib"),
            hardware=tuple((_word({"name": key}, "name"), _word(hardware, key)) for key in hardware),
            paused=_bool(body, "paused"),
            cpu=_cpu(body.get("cpu")),
            vcpus=None if body.get("vcpus") is None else _int(body["vcpus"], "vcpus"),
            reporting=_bool({"reporting": body.get("reporting", False)}, "reporting"),
            hotplug_mib=_int(body.get("hotplug_mib", 0), "hotplug_mib"),
        )

    return _read(data, what, build)


def write_disks(disks: Sequence[SavedDisk]) -> bytes:
    return _write({"disks": [asdict(disk) for disk in disks]})


def read_disks(data: bytes, what: str) -> tuple[SavedDisk, ...]:
    return _read(data, what, lambda body: tuple(_disk(each) for each in _items(body, "disks")))


def hardware(plan: LaunchPlan) -> tuple[tuple[str, str], ...]:
    """What a guest sees of the machine that it runs on, by name."""
    said = {
        "machine": plan.machine,
        "accelerator": str(plan.accelerator),
        "CPU model": plan.cpu_model,
        "CPUs": f"{plan.vcpus} of {plan.maxvcpus}",
        "memory": f"{plan.memory_mib} MiB",
        **({"memory to plug in": f"{plan.hotplug_mib} MiB"} if plan.hotplug_mib else {}),
        "console": str(plan.console),
        "firmware": "none" if plan.firmware is None else str(plan.firmware),
        "agent's port": "none" if plan.agent_slot is None else f"slot {plan.agent_slot}",
    }
    said |= {device: f"slot {slot}" for device, slot in plan.slots}
    for disk in plan.disks:
        kind = "CD drive" if disk.cdrom else "disk" if disk.writable else "read-only disk"
        said[disk.id.replace("-", " ", 1)] = f"{disk.bus} {kind} at {disk.slot}"
    for nic in plan.nics:
        place = f"slot {nic.slot}" if nic.port is None else f"port {nic.port}"
        said[f"vif {nic.index}"] = f"{nic.device} {nic.mac} at {place}"
    return tuple(said.items())


def differences(saved: SavedGuest, plan: LaunchPlan) -> tuple[str, ...]:
    """What the guest would find otherwise than it was, a phrase each."""
    was, now = dict(saved.hardware), dict(hardware(plan))
    return tuple(
        f"{name} was {was.get(name, 'not there')} and is {now.get(name, 'not there')}"
        for name in dict.fromkeys((*was, *now))
        if was.get(name) != now.get(name)
    )


def missing_cpu(saved: SavedGuest, offer: CpuOffer | None) -> str | None:
    """What of its CPU this host can't give it, in words."""
    if saved.cpu is None or offer is None:
        return None
    lacks = lacking(saved.cpu, offer)
    if lacks:
        return f"its CPU ({saved.cpu.model}) had {words(lacks)}"
    return f"its CPU was another ({saved.cpu.identity})" if other_cpu(saved.cpu, offer) else None


def written_since(disks: Sequence[SavedDisk], now: Mapping[str, tuple[str, ...] | None]) -> tuple[str, ...]:
    """Which disks may hold something else than the guest's memory takes for granted, a phrase each. ``now``: the
    stamps of today, by vdev."""
    found = []
    for disk in disks:
        today = now.get(disk.vdev)
        if disk.stamps is None or today is None:
            found.append(f"whether {disk.vdev} ({disk.target}) was written since can't be told")
        elif today != disk.stamps:
            found.append(f"{disk.vdev} ({disk.target}) was written since")
    return tuple(found)


def _cpu(said: object) -> GivenCpu | None:
    if said is None:
        return None
    if not isinstance(said, dict) or not isinstance(said["features"], list):
        raise ValueError("cpu is none")
    features = said["features"]
    if len(features) > MOST_FEATURES or not all(isinstance(each, str) and is_feature(each) for each in features):
        raise ValueError("cpu has features that could not be")
    model = _text(said["model"], "model", LONGEST_CHOICE)
    parse_choice(model)
    return GivenCpu(model, frozenset(features), _word(said, "identity"))


def _disk(body: object) -> SavedDisk:
    if not isinstance(body, dict):
        raise ValueError("a disk is none")
    stamps = None if body["stamps"] is None else tuple(_text(each, "stamps") for each in _items(body, "stamps"))
    size, writable = _int(body["size"], "size"), _bool(body, "writable")
    return SavedDisk(_word(body, "vdev"), _word(body, "target"), size, writable, stamps)


def _write(values: dict[str, Any]) -> bytes:
    return json.dumps(values, indent=1).encode() + b"\n"


def _read(data: bytes, what: str, build: Callable[[dict[str, Any]], T]) -> T:
    try:
        body = json.loads(data)
        if not isinstance(body, dict):
            raise ValueError("no object")
        return build(body)
    except (ValueError, KeyError, TypeError, RecursionError, BadInput) as error:
        raise CorruptState(f"what {what} says of its guest can't be understood: {error}") from error


def _items(body: dict[str, Any], name: str) -> list[object]:
    items = body[name]
    if not isinstance(items, list) or len(items) > MOST_ITEMS:
        raise ValueError(f"{name} is no list that could be one")
    return items


def _word(body: dict[str, Any], name: str, *, most: int = MOST_WORDS) -> str:
    return _text(body[name], name, most)


def _text(value: object, name: str, most: int = MOST_WORDS) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{name} is no word")
    value.encode()  # JSON can hold what is no text: UnicodeEncodeError is a ValueError
    return value


def _bool(body: dict[str, Any], name: str) -> bool:
    if not isinstance(body[name], bool):
        raise ValueError(f"{name} is neither yes nor no")
    return bool(body[name])


def _int(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST:
        raise ValueError(f"{name} is no number that could be one")
    return value


def _time(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise ValueError("created_at is no time")
    return float(value)
