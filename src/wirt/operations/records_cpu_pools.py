"""How pools of CPUs are written down: one record each, below the host that has the CPUs."""

from __future__ import annotations

from typing import Any

from wirt.operations.records import PREFIX, read_record, write_record
from wirt.ports.store import Entry


def cpu_pools_prefix(host: str) -> str:
    return f"{PREFIX}/cpu-pools/{host}/"


def cpu_pool_key(host: str, name: str) -> str:
    return f"{cpu_pools_prefix(host)}{name}"


def write_cpu_pool(name: str, cpus: frozenset[int]) -> bytes:
    return write_record({"name": name, "cpus": sorted(cpus)})


def read_cpu_pool(entry: Entry) -> tuple[str, frozenset[int]]:
    def build(data: dict[str, Any]) -> tuple[str, frozenset[int]]:
        return str(data["name"]), frozenset(int(cpu) for cpu in data["cpus"])

    return read_record(entry, build)
