"""The port for moving guests, on QEMU 7.2 and newer.

The source pauses before the switch-over and both sides take their disks late, so that nothing is decided by QEMU
itself (QEMU, docs/devel/migration). Streams are handed over as descriptors: a QEMU in its jail has no network.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from uuid import UUID

from wirt.hypervisors.qemu import answers, credentials, mirrors, sending, travel
from wirt.hypervisors.qemu.blockjobs import to_the_end
from wirt.hypervisors.qemu.driver import QemuHypervisor
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.errors import HypervisorError, HypervisorSilent, IllegalState
from wirt.ports.migration import Channel, Course, Credentials, Phase, Report, Travelled
from wirt.ports.storage import Progress

MEMORY = "memory-out"
INCOMING = "memory-in"
MILLISECONDS_SINCE = (9, 0)
"""In which QEMU samples memory for less than a second, too (QEMU QMP reference, "calc-dirty-rate")."""
SAMPLED_S = 3.0
"""For QEMU to say what it found, when it should have it; a move does without it rather than wait."""
ANSWER_S = 60.0
"""For commands that drain disks first."""


class QemuLiveMigrations:
    """Of the guests of one driver."""

    def __init__(self, hypervisor: QemuHypervisor) -> None:
        self._hypervisor = hypervisor
        self._serving: set[UUID] = set()

    async def no_postcopy(self) -> str | None:
        """A QEMU that waits for pages needs userfaultfd(2); without privileges the kernel gives it one only if it
        is told to (Linux, Documentation/admin-guide/sysctl/vm.rst)."""
        jailed = any(claim.holds for claim in await self._hypervisor.sandbox.claims() if claim.name == "uid")
        if (os.geteuid() == 0 and not jailed) or await asyncio.to_thread(_may_wait_for_pages):
            return None
        return "a QEMU in its jail may not wait for pages: sysctl vm.unprivileged_userfaultfd=1 lets it"

    async def dirty_rate(self, domain: UUID, for_s: float) -> int:
        """By sampling pages: the only way that works under emulation."""
        run = self._hypervisor.run(domain)
        fine = answers.version(await run.monitor.execute("query-version")) >= MILLISECONDS_SINCE
        seconds = for_s if fine else max(1, round(for_s))
        await run.monitor.execute(
            "calc-dirty-rate",
            {"calc-time": round(seconds * 1000), "calc-time-unit": "millisecond"}
            if fine
            else {"calc-time": seconds},
        )
        deadline = asyncio.get_running_loop().time() + seconds + SAMPLED_S
        await asyncio.sleep(seconds)
        while asyncio.get_running_loop().time() < deadline:
            try:
                rate = answers.dirty_rate(await run.monitor.execute("query-dirty-rate"))
            except Malformed as error:
                raise HypervisorError(f"{run.name}: QEMU tells of its memory with {error}") from error
            if rate is not None:
                return rate << 20
            await asyncio.sleep(sending.LOOK_S)
        raise HypervisorSilent(f"{run.name}: QEMU does not say how fast its memory changes")

    async def send(self, domain: UUID, channel: Channel, course: Course, report: Report) -> Travelled:
        with contextlib.closing(channel.stream) as stream:
            run = self._hypervisor.run(domain)
            sending.check_idle(run, await travel.look(run))
            await sending.check_keeps_pages(run)
            sending.mark(run)
            try:
                await travel.set_course(run, course, sends=True)
                await travel.allow(run, sending.allowed_ms(0, course.max_downtime_ms))
                if channel.credentials is not None:
                    await credentials.show(run, channel.credentials, serves=False)
                    await travel.protect(run, credentials.ID, channel.credentials.name)
                await run.monitor.hand_over(MEMORY, stream.fileno())
                await run.monitor.execute("migrate", {"uri": f"fd:{MEMORY}"}, deadline_s=ANSWER_S)
                return await sending.standing(run, course, report)
            except BaseException:
                await to_the_end(sending.back(run))
                raise

    async def go_over(self, domain: UUID) -> None:
        await self._hypervisor.run(domain).monitor.execute("migrate-start-postcopy")

    async def finish(self, domain: UUID) -> Travelled:
        """The guest stands still meanwhile: nothing is asked of QEMU that need not be asked now."""
        run = self._hypervisor.run(domain)
        if run.disks_at_work:
            if await travel.status(run) != "pre-switchover":
                raise IllegalState(f"{run.name} is not about to move")
            await mirrors.complete(run)
        try:
            await run.monitor.execute("migrate-continue", {"state": "pre-switchover"})
        except HypervisorError as error:
            if await travel.status(run) == "pre-switchover":
                raise
            raise IllegalState(f"{run.name} is not about to move") from error
        return await sending.until(run, (Phase.COMPLETED, Phase.POSTCOPY), lambda now: None)

    async def delivered(self, domain: UUID, report: Report) -> Travelled:
        run = self._hypervisor.run(domain)
        return await sending.with_downtime(run, await sending.until(run, Phase.COMPLETED, report))

    async def back(self, domain: UUID) -> None:
        await to_the_end(sending.back(self._hypervisor.run(domain)))

    async def mirror(
        self,
        domain: UUID,
        vdev: str,
        channel: Channel,
        progress: Progress,
        *,
        bytes_per_s: int | None = None,
        top: bool = False,
    ) -> None:
        with contextlib.closing(channel.stream) as stream:
            run = self._hypervisor.run(domain)
            sending.mark(run)
            id_, name = "", ""
            if channel.credentials is not None:
                await credentials.show(run, channel.credentials, serves=False)
                id_, name = credentials.ID, channel.credentials.name
            await mirrors.mirror(run, vdev, stream, id_, name, progress, bytes_per_s, top=top)

    async def serve(
        self, domain: UUID, vdevs: tuple[str, ...], listener: socket.socket, mine: Credentials | None
    ) -> None:
        with contextlib.closing(listener):
            run = self._hypervisor.run(domain)
            self._serving.add(domain)
            if mine is not None:
                await credentials.show(run, mine, serves=True)
            await mirrors.serve(run, vdevs, listener, credentials.ID if mine is not None else "")

    async def receive(self, domain: UUID, channel: Channel, course: Course) -> Phase:
        with contextlib.closing(channel.stream) as stream:
            run = self._hypervisor.run(domain)
            await travel.set_course(run, course, sends=False)
            if channel.credentials is not None:
                await credentials.show(run, channel.credentials, serves=True)
                await travel.protect(run, credentials.ID, "")
            await run.monitor.hand_over(INCOMING, stream.fileno())
            await run.monitor.execute("migrate-incoming", {"uri": f"fd:{INCOMING}"})
            done = await sending.until(run, (Phase.COMPLETED, Phase.POSTCOPY), lambda now: None)
            if domain in self._serving:
                await mirrors.stop_serving(run)  # before the guest writes there
                self._serving.discard(domain)
            return done.phase

    async def settle(self, domain: UUID) -> None:
        run = self._hypervisor.run(domain)
        await travel.forget_course(run)
        await credentials.hide(run)


def _may_wait_for_pages() -> bool:
    try:
        return Path("/proc/sys/vm/unprivileged_userfaultfd").read_text().strip() == "1"
    except OSError:
        return False
