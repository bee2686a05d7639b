"""vCPUs are plugged into QEMU at its next free places, in their order, and only where that can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest

from wirt.hypervisors.qemu import answers
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.hypervisors.qemu.vcpu_plugs import QemuVcpuPlugs
from wirt.model.errors import HypervisorError, HypervisorSilent, IllegalState

DOMAIN = UUID(int=1)
MODEL = "qemu64-x86_64-cpu"


def place(core: int, *, taken: bool) -> dict[str, Any]:
    """As QEMU 7.2 and 10 tell of one."""
    path = {"qom-path": f"/machine/unattached/device[{core}]"} if taken else {}
    return {"props": {"core-id": core, "thread-id": 0, "socket-id": 0}, "vcpus-count": 1, "type": MODEL, **path}


class ScriptedRun:
    """A run whose QEMU has ``taken`` of its ``places``, by core. ``refuses`` maps commands to what is raised."""

    def __init__(self, taken: set[int], places: int = 3) -> None:
        self.name, self.monitor = "web", self
        self.taken, self.places = taken, places
        self.refuses: dict[str, Exception] = {}
        self.added: list[Mapping[str, Any]] = []
        self.expected: list[int] = []

    def expect_vcpus(self, count: int) -> None:
        self.expected.append(count)

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        if command in self.refuses:
            raise self.refuses[command]
        if command == "query-cpus-fast":
            return [{"cpu-index": core, "thread-id": 100 + core} for core in sorted(self.taken)]
        if command == "query-hotpluggable-cpus":
            return [place(core, taken=core in self.taken) for core in reversed(range(self.places))]
        assert command == "device_add" and arguments is not None
        self.added.append(arguments)
        self.taken.add(arguments["core-id"])
        return {}


def plugs(run: ScriptedRun) -> QemuVcpuPlugs:
    return QemuVcpuPlugs(lambda _: run)  # type: ignore[arg-type,return-value]


async def test_the_next_places_are_taken_in_their_order() -> None:
    run = ScriptedRun({0})
    assert await plugs(run).plug(DOMAIN, 3) == 3
    assert [(each["id"], each["core-id"], each["driver"]) for each in run.added] == [
        ("vcpu-1", 1, MODEL),
        ("vcpu-2", 2, MODEL),
    ]
    assert (run.added[0]["socket-id"], run.added[0]["thread-id"]) == (0, 0)
    assert run.expected == [1, 3], "whose threads are to be found"


async def test_what_is_there_is_not_plugged_in_again() -> None:
    run = ScriptedRun({0, 1})
    assert await plugs(run).plug(DOMAIN, 2) == 2 and run.added == []
    assert await plugs(run).plug(DOMAIN, 1) == 2 and run.added == []


async def test_more_than_there_are_places_is_refused() -> None:
    run = ScriptedRun({0})
    with pytest.raises(IllegalState, match="places for 3 vCPUs, not 4"):
        await plugs(run).plug(DOMAIN, 4)
    assert run.added == []


async def test_a_machine_that_takes_none_is_told_of_with_its_own_reason() -> None:
    run = ScriptedRun({0})
    why = "QEMU refused query-hotpluggable-cpus: The feature 'query-hotpluggable-cpus' is not enabled"
    run.refuses["query-hotpluggable-cpus"] = HypervisorError(f"web: {why}")
    with pytest.raises(IllegalState, match="takes no vCPU while it runs: web: QEMU refused") as caught:
        await plugs(run).plug(DOMAIN, 2)
    assert caught.value.hint is not None and "shutdown -w web" in caught.value.hint


async def test_one_that_says_nothing_is_no_machine_that_takes_none() -> None:
    run = ScriptedRun({0})
    run.refuses["query-hotpluggable-cpus"] = HypervisorSilent("web: QEMU says nothing")
    with pytest.raises(HypervisorSilent):
        await plugs(run).plug(DOMAIN, 2)


async def test_one_whose_vcpus_are_not_the_first_ones_goes_nowhere() -> None:
    """Somebody has plugged one in at another place: a QEMU that is started with as many has not the same."""
    run = ScriptedRun({0, 2})
    with pytest.raises(HypervisorError, match="not the first ones"):
        await plugs(run).present(DOMAIN)
    with pytest.raises(HypervisorError, match="not the first ones"):
        await plugs(run).plug(DOMAIN, 3)


async def test_what_one_half_did_is_known() -> None:
    run = ScriptedRun({0})
    run.refuses["device_add"] = HypervisorError("web: no room")
    with pytest.raises(HypervisorError, match="no room"):
        await plugs(run).plug(DOMAIN, 2)
    assert await plugs(run).present(DOMAIN) == 1


def test_places_are_in_the_order_of_the_numbers_that_they_give() -> None:
    given = [
        {"props": {"socket-id": s, "core-id": c, "thread-id": t}, "type": MODEL}
        for t in (0, 1)
        for c in (1, 0)
        for s in (1, 0)
    ]
    found = [tuple(where.values()) for _, where, _ in answers.vcpu_places(given)]
    assert found == sorted(found) and len(set(found)) == 8


@pytest.mark.parametrize(
    "entry",
    [
        {"type": MODEL},
        {"props": {"core-id": -1}, "type": MODEL},
        {"props": {"core-id": "0"}, "type": MODEL},
        {"props": {"core-id": 0}},
        {"props": {f"p{number}": 0 for number in range(20)}, "type": MODEL},
    ],
)
def test_places_that_can_not_be_are_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        answers.vcpu_places([entry])
