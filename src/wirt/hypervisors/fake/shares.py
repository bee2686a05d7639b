"""Shares of CPUs in memory: a run's are what was laid on last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wirt.hypervisors.fake.world import FakeWorld
from wirt.model.errors import Unavailable
from wirt.ports.shares import DiskWeights, Mechanism, RunShares


class FakeShares:
    """``refuses``: why the host lets no share be set, while it does not. ``weighs``: what it makes of the weights
    of disks."""

    mechanism = Mechanism.V2
    reason = "the fake hypervisor keeps shares in memory"

    def __init__(self, world: FakeWorld) -> None:
        self._world = world
        self.refuses: str | None = None
        self.weighs = DiskWeights(True, True, "weights of disks are kept in memory")

    def lay(self, directory: Path, threads: Mapping[int, int], shares: RunShares) -> Mechanism:
        if self.refuses is not None:
            raise Unavailable(f"the share of run {directory.name} can't be set: {self.refuses}")
        self._world.shares[directory] = shares
        return self.mechanism

    def disk_weights(self) -> DiskWeights:
        return self.weighs

    def weigh_disks(self, directory: Path, weight: int) -> bool:
        if self.refuses is not None:
            raise Unavailable(f"the disks of run {directory.name} can't be weighed: {self.refuses}")
        if self.weighs.kept:
            self._world.disk_weights[directory] = weight
        return self.weighs.kept
