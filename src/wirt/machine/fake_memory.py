"""The host's memory, in memory: for tests and the fake hypervisor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from wirt.model.errors import Unavailable
from wirt.model.memory import HugeMemory, Merging


@dataclass
class FakeHostMemory:
    """``refused``: why merging can't be changed, if it can't. ``nodes``: of each process, by its pid."""

    now: HugeMemory = field(default_factory=HugeMemory)
    ksm: Merging | None = field(
        default_factory=lambda: Merging(on=False, shared=0, sharing=0, scan=100, sleep_ms=20)
    )
    refused: str | None = None
    nodes: dict[int, dict[int, int]] = field(default_factory=dict)

    def huge(self) -> HugeMemory:
        return self.now

    def merging(self) -> Merging | None:
        return self.ksm

    def merge(self, *, on: bool, scan: int | None = None, sleep_ms: int | None = None) -> None:
        if self.ksm is None or self.refused is not None:
            raise Unavailable(f"KSM can't be turned {'on' if on else 'off'}: {self.refused or 'No such file'}")
        scan, sleep_ms = scan or self.ksm.scan, self.ksm.sleep_ms if sleep_ms is None else sleep_ms
        shared, sharing = (self.ksm.shared, self.ksm.sharing) if on else (0, 0)
        self.ksm = replace(self.ksm, on=on, shared=shared, sharing=sharing, scan=scan, sleep_ms=sleep_ms)

    def nodes_of(self, pid: int) -> Mapping[int, int]:
        return self.nodes.get(pid, {})
