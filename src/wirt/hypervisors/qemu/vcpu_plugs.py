"""vCPUs that are plugged into QEMU (QMP reference, ``query-hotpluggable-cpus``, ``device_add``; docs/system/
cpu-hotplug).

They are plugged in by their numbers and never out, so those that there are have the numbers from 0 on: a QEMU that
is started with as many has the very same (a vCPU's state travels by its number).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from wirt.hypervisors.qemu import answers
from wirt.hypervisors.qemu.run import Run
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.errors import HypervisorError, HypervisorSilent, IllegalState

T = TypeVar("T")


class QemuVcpuPlugs:
    def __init__(self, run: Callable[[UUID], Run]) -> None:
        self._run = run

    async def present(self, domain: UUID) -> int:
        run = self._run(domain)
        found = await _understood(run, "query-cpus-fast", answers.vcpus)
        run.expect_vcpus(len(found))
        numbers = sorted(number for number, _ in found)
        if numbers != list(range(len(numbers))):
            raise HypervisorError(f"{run.name}: its vCPUs are {numbers}, and not the first ones that it can have")
        return len(numbers)

    async def plug(self, domain: UUID, count: int) -> int:
        run, now = self._run(domain), await self.present(domain)
        if count <= now:
            return now
        places = await _places(run)
        if count > len(places) or any(taken != (number < now) for number, (_, _, taken) in enumerate(places)):
            others = (
                f", not {count}" if count > len(places) else f", and those that it has are not the first {now}"
            )
            raise IllegalState(
                f"{run.name} has places for {len(places)} vCPUs{others}",
                hint=f"wirt shutdown -w {run.name}, then wirt vcpu-set: it is started with them",
            )
        for number, (model, place, _) in list(enumerate(places))[now:count]:
            await run.monitor.execute("device_add", {"driver": model, "id": f"vcpu-{number}", **place})
        return await self.present(domain)


async def _places(run: Run) -> list[tuple[str, dict[str, int], bool]]:
    try:
        return await _understood(run, "query-hotpluggable-cpus", answers.vcpu_places)
    except HypervisorSilent:
        raise
    except HypervisorError as error:
        raise IllegalState(
            f"the machine of {run.name} takes no vCPU while it runs: {error.message}",
            hint=f"wirt shutdown -w {run.name}, then wirt vcpu-set: it is started with them",
        ) from error


async def _understood(run: Run, command: str, understand: Callable[[list[Mapping[str, Any]]], T]) -> T:
    try:
        return understand(await run.monitor.execute(command))
    except Malformed as error:
        raise HypervisorError(f"{run.name}: QEMU tells of a vCPU with {error}") from error
