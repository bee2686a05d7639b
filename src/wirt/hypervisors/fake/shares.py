"""Shares of CPUs in memory: a run's are what was laid on last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wirt.hypervisors.fake.world import FakeWorld
from wirt.model.errors import Unavailable
from wirt.ports.shares import Mechanism, RunShares


class FakeShares:
    """``refuses``: why the host lets no share be set, while it does not."""

    mechanism = Mechanism.V2
    reason = "the fake hypervisor keeps shares in memory"

    def __init__(self, world: FakeWorld) -> None:
        self._world = world
        self.refuses: str | None = None

    def lay(self, directory: Path, threads: Mapping[int, int], shares: RunShares) -> Mechanism:
        if self.refuses is not None:
            raise Unavailable(f"the share of run {directory.name} can't be set: {self.refuses}")
        self._world.shares[directory] = shares
        return self.mechanism
