"""Balloons of QEMU's guests (QMP reference, ``balloon``, ``query-balloon``; docs/interop/virtio-balloon-stats)."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from wirt.hypervisors.qemu import answers, plugged
from wirt.hypervisors.qemu.monitor import Monitor
from wirt.hypervisors.qemu.run import Run
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.errors import HypervisorError
from wirt.model.memory import plugged_for
from wirt.model.units import MIB
from wirt.plan.launch import LaunchPlan
from wirt.ports.balloons import Balloon

DEVICE = "/machine/peripheral/balloon"
EVERY_S = 2
"""How often the guest is asked for its numbers, which costs it an interrupt."""


class QemuBalloons:
    def __init__(self, run: Callable[[UUID], Run]) -> None:
        self._run = run

    async def look(self, domain: UUID) -> Balloon:
        run = self._run(domain)
        every = {"path": DEVICE, "property": "guest-stats-polling-interval", "value": EVERY_S}
        await run.monitor.execute("qom-set", every)
        told = await run.monitor.execute("query-balloon")
        status = await run.monitor.execute("x-query-virtio-status", {"path": f"{DEVICE}/virtio-backend"})
        stats = await run.monitor.execute("qom-get", {"path": DEVICE, "property": "guest-stats"})
        try:
            actual = round(answers.balloon_bytes(told) / MIB)
            driver, available = answers.driver_ready(status), answers.available_bytes(stats)
            more = await plugged.look(run.monitor) if run.memory.hotplug else plugged.NONE
        except Malformed as error:
            raise HypervisorError(f"{run.name}: QEMU tells of the guest's memory with {error}") from error
        most = run.memory.mib + max(more.size, more.requested)
        return Balloon(
            actual=min(actual, run.memory.mib) + more.size,
            most=most,
            driver=driver,
            available=None if available is None else available // MIB,
            hotplug=run.memory.mib + more.most - most,
            plugs=more.driver,
        )

    async def ask(self, domain: UUID, mib: int) -> None:
        run = self._run(domain)
        more = min(plugged_for(mib - run.memory.mib), run.memory.hotplug)
        await begin(run.monitor, mib - more, run.memory.mib)
        if run.memory.hotplug:
            await plugged.ask(run.monitor, more)


async def at_start(monitor: Monitor, plan: LaunchPlan) -> None:
    """Before the guest's first instruction: its driver finds what it is to give."""
    if plan.start_mib is not None and plan.start_mib < plan.memory_mib:
        await begin(monitor, plan.start_mib, plan.memory_mib)


async def begin(monitor: Monitor, mib: int, most: int) -> None:
    # QEMU takes what is more than all for all, which may be a few pages more than whole MiB.
    await monitor.execute("balloon", {"value": (mib if mib < most else most + 1) * MIB})
