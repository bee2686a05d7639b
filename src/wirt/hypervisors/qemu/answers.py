"""What QEMU answers, taken for what it is said to be only after a look (QEMU QMP reference)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from wirt.hypervisors.qemu.untrusted import Malformed

T = TypeVar("T")

MOST_NUMBER = (1 << 31) - 1
MOST_SIZE = (1 << 63) - 1

_SHAPES: dict[str, type] = {
    "query-status": dict,
    "query-cpus-fast": list,
    "query-hotpluggable-cpus": list,
    "query-named-block-nodes": list,
    "query-blockstats": list,
    "query-balloon": dict,
    "query-fdsets": list,
    "query-jobs": list,
    "query-migrate": dict,
    "query-dirty-rate": dict,
    "query-block": list,
    "query-block-exports": list,
    "query-pci": list,
    "query-version": dict,
    "query-kvm": dict,
    "x-query-virtio-status": dict,
    "query-memory-size-summary": dict,
    "add-fd": dict,
    "query-chardev": list,
    "qom-list": list,
}


def check(command: str, answer: object) -> None:
    """``Malformed`` if the answer to ``command`` has not its shape: an object, or a list of objects. Commands that
    are not known here may answer anything."""
    shape = _SHAPES.get(command)
    if shape is None:
        return
    if not isinstance(answer, shape):
        raise Malformed(f"an answer that is no {'list' if shape is list else 'object'}")
    if isinstance(answer, list) and not all(isinstance(each, dict) for each in answer):
        raise Malformed("a list of something else than objects")


def vcpus(answer: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Each vCPU's index and its thread, as QEMU numbers it, from ``query-cpus-fast``."""
    return [(_number(entry, "cpu-index"), _number(entry, "thread-id")) for entry in answer]


PLACES_OF_VCPU = ("socket-id", "die-id", "cluster-id", "module-id", "core-id", "thread-id")


def vcpu_places(answer: Sequence[Mapping[str, Any]]) -> list[tuple[str, dict[str, int], bool]]:
    """The model, the place and whether it is taken of each vCPU that there can be, in the order of their numbers,
    from ``query-hotpluggable-cpus``."""
    found = []
    for entry in answer:
        props = entry.get("props")
        if not isinstance(props, dict) or len(props) > len(PLACES_OF_VCPU) + 1:
            raise Malformed("a vCPU that has no place")
        place = {name: _number(props, name) for name in (*PLACES_OF_VCPU, "node-id") if name in props}
        found.append((_text(entry, "type"), place, entry.get("qom-path") is not None))
    return sorted(found, key=lambda each: [each[1].get(name, 0) for name in PLACES_OF_VCPU])


MOST_LAYERS = 256


FILTER = "bk-c-"
"""Begins the name of what stands between a guest and its disk while a backup is read."""


def block_layers(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """From the top down, the nodes of a device's layers: of the format, and of the protocol below it. One of what
    ``query-blockstats`` answers; a device without a disk has none. A backup's filter is no layer."""
    found: list[tuple[str, str]] = []
    here: object = entry if entry.get("node-name") is not None else None
    while here is not None:
        below = here.get("parent") if isinstance(here, dict) else None
        if not isinstance(here, dict) or not isinstance(below, dict) or len(found) == MOST_LAYERS:
            raise Malformed("layers that could not be")
        name = _text(here, "node-name")
        if found or not name.startswith(FILTER):
            found.append((name, _text(below, "node-name")))
        here = here.get("backing")
    return found


def throttled(answer: Sequence[Mapping[str, Any]]) -> list[tuple[str, dict[str, int], str]]:
    """Each device with something in it, the numbers of its limits and its group, from ``query-block``."""
    found = []
    for entry in answer:
        device, disk = entry.get("qdev"), entry.get("inserted")
        if isinstance(device, str) and isinstance(disk, dict):
            words = [word for word in disk if word.startswith(("iops", "bps"))]
            numbers = {word: _number(disk, word, MOST_SIZE) for word in words}
            found.append((device, numbers, _text(disk, "group") if disk.get("group") is not None else ""))
    return found


def block_nodes(answer: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """``file``, ``ro`` and ``size`` of each node, from ``query-named-block-nodes``."""
    return {
        _text(node, "node-name"): {
            "file": _text(node, "file"),
            "ro": node.get("ro") is not False,
            "size": _number(_part(node, "image"), "virtual-size", MOST_SIZE),
        }
        for node in answer
    }


def file_sets(answer: Sequence[Mapping[str, Any]]) -> list[tuple[int, list[str]]]:
    """Each set, and what its descriptors are called, from ``query-fdsets``."""
    found = []
    for entry in answer:
        files = entry.get("fds")
        if not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
            raise Malformed("a set of no descriptors")
        found.append((_number(entry, "fdset-id"), [str(file.get("opaque", "")) for file in files]))
    return found


def added_to(answer: Mapping[str, Any]) -> int:
    """The set that a descriptor was put into, from ``add-fd``."""
    return _number(answer, "fdset-id")


def jobs(answer: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, int, int, str | None]]:
    """Status, progress, its whole and the error of each job, from ``query-jobs``."""
    return {
        _text(job, "id"): (
            _text(job, "status"),
            _number(job, "current-progress", MOST_SIZE),
            _number(job, "total-progress", MOST_SIZE),
            _text(job, "error") if job.get("error") is not None else None,
        )
        for job in answer
    }


def migration(answer: Mapping[str, Any]) -> tuple[str, float, str]:
    """Status (``none`` if there was none), the share that is done, and the error, from ``query-migrate``."""
    status = _text(answer, "status") if answer.get("status") is not None else "none"
    error = _text(answer, "error-desc") if answer.get("error-desc") is not None else ""
    if not isinstance(answer.get("ram"), dict):
        return status, 0.0, error
    whole, left = (_number(_part(answer, "ram"), name, MOST_SIZE) for name in ("total", "remaining"))
    return status, 1.0 - min(1.0, left / whole) if whole else 0.0, error


def migrated_memory(answer: Mapping[str, Any]) -> dict[str, int]:
    """Of ``query-migrate``'s ``ram``: sizes in bytes, rates in bytes and pages a second; zeros before there is
    one."""
    names = ("total", "transferred", "remaining", "dirty-sync-count", "dirty-pages-rate", "page-size")
    if not isinstance(answer.get("ram"), dict):
        return {**dict.fromkeys(names, 0), "bytes-per-s": 0}
    ram = _part(answer, "ram")
    mbps = ram.get("mbps")
    rate = mbps * 125_000 if isinstance(mbps, int | float) and 0 <= mbps < MOST_NUMBER else 0
    return {**{name: _number(ram, name, MOST_SIZE) for name in names}, "bytes-per-s": int(rate)}


def optional(answer: Mapping[str, Any], name: str) -> int:
    """A number that need not be there; 0 then."""
    return 0 if answer.get(name) is None else _number(answer, name, MOST_SIZE)


def dirty_rate(answer: Mapping[str, Any]) -> int | None:
    """MiB a second, from ``query-dirty-rate``; ``None`` while it is being measured."""
    return _number(answer, "dirty-rate") if answer.get("status") == "measured" else None


def memory_bytes(answer: Mapping[str, Any]) -> int:
    """What the guest was started with, from ``query-memory-size-summary``."""
    return _number(answer, "base-memory", MOST_SIZE)


def plugged_bytes(answer: Mapping[str, Any]) -> int:
    """What was plugged in since, from the same; QEMU leaves it out where nothing can be."""
    return _number(answer, "plugged-memory", MOST_SIZE) if "plugged-memory" in answer else 0


def plugged_memory(answer: Sequence[Mapping[str, Any]], device: str) -> tuple[int, int, int]:
    """What the guest has of it, what it is to have, and the most, in bytes, from ``query-memory-devices``."""
    for each in answer:
        data = each.get("data", {}) if isinstance(each, Mapping) else {}
        if isinstance(data, Mapping) and data.get("id") == device:
            size, requested, most = (
                _number(data, name, MOST_SIZE) for name in ("size", "requested-size", "max-size")
            )
            return size, requested, most
    raise Malformed(f"no memory device {device}")


def balloon_bytes(answer: Mapping[str, Any]) -> int:
    """What the balloon leaves the guest, from ``query-balloon``."""
    return _number(answer, "actual", MOST_SIZE)


_OPERATIONS = ("rd_operations", "wr_operations", "flush_operations", "rd_bytes", "wr_bytes")
_DURATIONS = ("rd_total_time_ns", "wr_total_time_ns", "flush_total_time_ns")


def disk_counters(entry: Mapping[str, Any]) -> tuple[int, int, int, int, int, int]:
    """Reads, writes, flushes, bytes read and written, and nanoseconds of all, of one of what ``query-blockstats``
    answers."""
    stats = _part(entry, "stats")
    reads, writes, flushes, read, written = (_number(stats, name, MOST_SIZE) for name in _OPERATIONS)
    return reads, writes, flushes, read, written, sum(_number(stats, name, MOST_SIZE) for name in _DURATIONS)


def driver_ready(answer: Mapping[str, Any]) -> bool:
    """Whether a driver in the guest has the device in its hands, from ``x-query-virtio-status``."""
    states = _part(answer, "status").get("statuses")
    if not isinstance(states, list):
        raise Malformed("no status that could be one")
    return any(isinstance(state, str) and state.startswith("VIRTIO_CONFIG_S_DRIVER_OK") for state in states)


def available_bytes(answer: object) -> int | None:
    """From the property ``guest-stats``; ``None`` if the guest has not told, which QEMU says with -1."""
    stats = answer.get("stats") if isinstance(answer, dict) else None
    if not isinstance(stats, dict):
        raise Malformed("no stats that could be some")
    told = stats.get("stat-available-memory")
    return told if type(told) is int and 0 <= told <= MOST_SIZE else None


def uses_kvm(answer: Mapping[str, Any]) -> bool:
    """From ``query-kvm``."""
    return answer.get("enabled") is True


def node_names(answer: Sequence[Mapping[str, Any]]) -> list[str]:
    """From ``query-named-block-nodes``."""
    return [_text(node, "node-name") for node in answer]


def version(answer: Mapping[str, Any]) -> tuple[int, int]:
    """Major and minor, from ``query-version``."""
    told = _part(answer, "qemu")
    return _number(told, "major"), _number(told, "minor")


def _part(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = entry.get(name)
    if not isinstance(value, dict):
        raise Malformed(f"no {name} that could be one")
    return value


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str):
        raise Malformed(f"no {name} that could be one")
    return value


def _number(entry: Mapping[str, Any], name: str, most: int = MOST_NUMBER) -> int:
    value = entry.get(name)
    # bool is an int to Python, and none to QEMU.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise Malformed(f"no {name} that could be one")
    return value
