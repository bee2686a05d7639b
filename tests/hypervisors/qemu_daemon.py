"""A daemon to be killed: starts one guest, prints what it would have recorded, and waits for its end.

``python qemu_daemon.py PLAN DIRECTORY BINARY WHEN``: PLAN is a pickled launch plan; WHEN is ``running``, or one of
``PHASES``, to be killed by itself after that and before anything could be recorded.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

from wirt.hypervisors.qemu import driver, passt, process
from wirt.hypervisors.qemu.driver import QemuHypervisor, QemuSettings
from wirt.model.domain import Incarnation
from wirt.ports.hypervisor import Launch
from wirt.ports.network import Plugged
from wirt.sandbox import HostSandbox, cgroups, host, places
from wirt.sandbox.uids import UidClaims

PHASES: dict[str, tuple[object, str]] = {
    "mounted": (places, "bound"),
    "claimed": (UidClaims, "take"),
    "grouped": (cgroups, "make"),
    "served": (passt.Passt, "_serve"),
    "spawned": (process, "start"),
    "limited": (host, "lay_limits"),
    "admitted": (process, "watched"),
    "greeted": (driver, "negotiate_and_leave"),
}
"""Where the function is that brings a start to that point."""


def dying(act: Callable[..., Any]) -> Callable[..., Any]:
    """``act``, by a daemon that does not get any further."""

    def die() -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("not reached")

    def act_and_die(*arguments: Any, **named: Any) -> Any:
        made = act(*arguments, **named)
        return then_die(made) if asyncio.iscoroutine(made) else die()

    async def then_die(made: Awaitable[object]) -> NoReturn:
        await made
        die()

    return act_and_die


async def main(plan_file: str, directory: str, binary: str, when: str) -> None:
    plan = pickle.loads(Path(plan_file).read_bytes())
    if when in PHASES:
        place, name = PHASES[when]
        setattr(place, name, dying(getattr(place, name)))
    hypervisor = QemuHypervisor(QemuSettings(binary, Path(directory).parent / "probe.json"), HostSandbox.here())
    begun = Incarnation(plan.uuid, plan.domid, "here", 1, "qemu", 0.0)
    cards = tuple(Plugged(nic, nic.kind, forwards=nic.forwards) for nic in plan.nics)
    made = await hypervisor.launch(Launch(plan, begun, Path(directory), cards))
    await hypervisor.resume(plan.uuid)
    print(json.dumps({"pid": made.pid, "started_ticks": made.started_ticks, "notes": made.notes}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
