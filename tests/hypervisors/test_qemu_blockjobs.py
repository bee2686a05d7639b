"""Jobs of a QEMU whose disks lie on a server that has gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from wirt.hypervisors.qemu import blockjobs
from wirt.hypervisors.qemu.monitor import Monitor
from wirt.model.errors import HypervisorError, HypervisorSilent

MOVE = {"job-id": "move-xvda"}


class StuckMonitor:
    """Of a QEMU whose jobs neither go on nor end until ``back``."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.back = False

    async def execute(
        self, command: str, arguments: Mapping[str, Any] | None = None, *, deadline_s: float | None = None
    ) -> Any:
        if command == "query-jobs":
            return list(self.jobs.values())
        assert arguments is not None
        if command == "blockdev-mirror":
            name = str(arguments["job-id"])
            if name in self.jobs:
                raise HypervisorError(f"Job ID '{name}' already in use")
            self.jobs[name] = {"id": name, "status": "running", "current-progress": 1, "total-progress": 9}
        elif self.back:
            del self.jobs[str(arguments["id"])]
        return {}


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> StuckMonitor:
    monkeypatch.setattr(blockjobs, "STALLED_S", 0.1)
    monkeypatch.setattr(blockjobs, "END_S", 0.1)
    return StuckMonitor()


async def copy(monitor: StuckMonitor) -> None:
    async with blockjobs.running("web", cast(Monitor, monitor), "blockdev-mirror", MOVE) as job:
        await job.until("ready")


async def test_a_copy_that_gets_no_further_fails_with_that_and_not_with_its_not_ending(
    stuck: StuckMonitor,
) -> None:
    with pytest.raises(HypervisorSilent, match="copied no further") as caught:
        await copy(stuck)
    assert "wirt pool info" in (caught.value.hint or "")


async def test_what_could_not_be_ended_is_ended_before_the_next_begins(stuck: StuckMonitor) -> None:
    with pytest.raises(HypervisorSilent, match="copied no further"):
        await copy(stuck)
    with pytest.raises(HypervisorSilent, match="does not end"):
        await copy(stuck)
    stuck.back = True
    with pytest.raises(HypervisorSilent, match="copied no further"):
        await copy(stuck)
    assert stuck.jobs == {}
