"""From a launch and its jail to a QEMU that has begun."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from pathlib import Path

from wirt.hypervisors.qemu import cmdline, handover, process, sockets
from wirt.hypervisors.qemu.process import Process, last_words
from wirt.hypervisors.qemu.run import RunFiles
from wirt.model.errors import HypervisorError, LaunchFailed, ResourceBusy, Shortage, WirtError
from wirt.plan.jail import JailPlan
from wirt.ports.hypervisor import Launch
from wirt.ports.sandbox import Jail

ADMIT_S = 10.0


async def start(
    launch: Launch, files: RunFiles, jailed: JailPlan, jail: Jail, passts: Mapping[int, int]
) -> Process:
    """``passts`` are sockets of user-mode cards, by card. All descriptors are QEMU's once it runs; those that are
    opened here are closed whatever happens."""
    async with contextlib.AsyncExitStack() as stack:
        paths = [files.control, files.events, files.console]
        if launch.plan.agent_slot is not None:
            paths.append(files.agent)
        listeners = [stack.enter_context(contextlib.closing(_listen(path))) for path in paths]
        control, event, console, *agent = (listener.fileno() for listener in listeners)
        taps = {p.nic.index: p.descriptor for p in launch.plugged if p.descriptor is not None} | dict(passts)
        handed = await stack.enter_async_context(handover.opened(jailed.handed))
        handles = cmdline.Handles(
            control=control,
            events=event,
            console=console,
            agent=agent[0] if agent else None,
            taps=tuple(taps.items()),
            forwards=tuple((p.nic.index, p.forwards) for p in launch.plugged),
            names=handover.names(jailed),
            nodes=handover.nodes(launch.plan, jailed, handed),
            incoming=launch.memory is not None or launch.incoming,
        )
        command = (
            *cmdline.command_line(launch.plan, jailed.program, str(files.directory), handles),
            *handover.words(jailed.handed, handed),
        )
        ready = jail.command(command, (control, event, console, *agent, *taps.values(), *handed.values()))
        child = jail.start(lambda: process.start(ready.argv, ready.inherited, files.qemu_log))
        try:
            return process.watched(child, await jail.admit(child.pid, ADMIT_S))
        except LaunchFailed as error:
            said = last_words(files.qemu_log)
            raise LaunchFailed(f"{launch.plan.name}: {error.message}: {said}") from error


def _listen(path: Path) -> socket.socket:
    try:
        return sockets.listen(path)
    except OSError as error:
        raise Shortage(
            f"no socket can be made at {path}: {error.strerror}", hint="make room on that file system"
        ) from error


def explain(
    name: str, files: RunFiles, jailed: JailPlan, started: Process, error: HypervisorError, *, by_itself: bool
) -> WirtError:
    """QEMU's own words for why it did not come up, in the place of ours."""
    words = handover.readable(last_words(files.qemu_log).removeprefix("qemu-system-x86_64: "), jailed)
    if 'Failed to get "write" lock' in words or 'Failed to get shared "write" lock' in words:
        return ResourceBusy(
            f"{name}: a disk of it is in use: {words}",
            hint="stop whoever has it open (fuser DISK), or give this domain a disk of its own",
        )
    if not by_itself:
        return LaunchFailed(f"{error.message}; QEMU said: {words or 'nothing'}")
    return LaunchFailed(f"{name}: QEMU ended in start-up ({started.exit_words()}): {words or 'without a word'}")
