"""A daemon to be killed: starts one guest, prints what it would have recorded, and waits for its end.

``python qemu_daemon.py PLAN DIRECTORY BINARY WHEN``: PLAN is a pickled launch plan; WHEN is ``running``, or
``spawned`` to be killed by itself before anything could be recorded.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from wirt.hypervisors.qemu import process
from wirt.hypervisors.qemu.driver import QemuHypervisor, QemuSettings
from wirt.model.domain import Incarnation
from wirt.ports.hypervisor import Launch
from wirt.ports.network import Plugged


def dying(spawn: Callable[..., object]) -> Callable[..., NoReturn]:
    """``spawn``, by a daemon that does not get any further."""

    def spawn_and_die(*arguments: object) -> NoReturn:
        spawn(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("not reached")

    return spawn_and_die


async def main(plan_file: str, directory: str, binary: str, when: str) -> None:
    plan = pickle.loads(Path(plan_file).read_bytes())
    if when == "spawned":
        process.spawn = dying(process.spawn)
    hypervisor = QemuHypervisor(QemuSettings(binary, Path(directory).parent / "probe.json"))
    begun = Incarnation(plan.uuid, plan.domid, "here", 1, "qemu", 0.0)
    cards = tuple(Plugged(nic, nic.kind, forwards=nic.forwards) for nic in plan.nics)
    made = await hypervisor.launch(Launch(plan, begun, Path(directory), cards))
    await hypervisor.resume(plan.uuid)
    print(json.dumps({"pid": made.pid, "started_ticks": made.started_ticks, "notes": made.notes}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
