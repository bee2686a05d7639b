"""What QEMU answers, taken for what it is said to be only after a look (QEMU QMP reference)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from wirt.hypervisors.qemu.untrusted import Malformed

T = TypeVar("T")

MOST_NUMBER = (1 << 31) - 1

_SHAPES: dict[str, type] = {
    "query-status": dict,
    "query-cpus-fast": list,
    "query-named-block-nodes": list,
    "query-block": list,
    "query-block-exports": list,
    "query-fdsets": list,
    "query-pci": list,
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


def _number(entry: Mapping[str, Any], name: str) -> int:
    value = entry.get(name)
    # bool is an int to Python, and none to QEMU.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_NUMBER:
        raise Malformed(f"no {name} that could be one")
    return value
