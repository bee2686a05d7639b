"""Jobs of QEMU on its block nodes: begun, waited for, ended (QEMU QMP reference, "Background jobs").

A job here never vanishes by itself (``auto-dismiss`` off), so how it ended is always told; and it is asked for,
not listened to, because an event may come while no daemon is there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from wirt.hypervisors.qemu import answers
from wirt.hypervisors.qemu.monitor import Monitor
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.errors import HypervisorError, HypervisorSilent, Shortage
from wirt.model.text import plain
from wirt.ports.storage import Progress

T = TypeVar("T")

FIRST_LOOK_S, LONGEST_LOOK_S = 0.02, 0.5
END_S = 30.0
"""What a cancelled job, or one that has only to change over, may take: writes that are under way must end."""
STALLED_S = 120.0
"""Without a byte copied: a server has gone. The guest may wait for it too, since its writes go into both."""
SLOW_S = 60.0
"""For commands that drain a disk first."""
FULL_WORDS = ("No space left on device", "Disk quota exceeded")


@dataclass(frozen=True, slots=True)
class BlockJob:
    """Of one disk there is at most one."""

    domain: str
    monitor: Monitor
    id: str

    async def until(self, status: str, progress: Progress | None = None) -> None:
        """``Shortage`` or ``HypervisorError`` if it ends before, ``HypervisorSilent`` if it gets no further."""
        pause_s, clock = FIRST_LOOK_S, asyncio.get_running_loop().time
        last, moved_at = await self._look(), clock()
        while True:
            now, done, whole, error = found = await self._look()
            if found != last:
                last, moved_at = found, clock()
            elif clock() - moved_at > STALLED_S:
                raise self._stalled()
            if progress is not None and whole > 0:
                progress(min(1.0, done / whole))
            if now == "concluded" and error is not None:
                raise self._failed(error)
            if now == status:
                return
            if now in ("concluded", "null"):
                raise HypervisorError(f"{self.domain}: QEMU's job {self.id} ended without a word")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_LOOK_S)

    async def pivot(self) -> None:
        """Once it is ready: have the guest go over to the copy."""
        await self._tell("job-complete")
        await asyncio.wait_for(self.until("concluded"), END_S)

    async def finish(self) -> None:
        """Once it is pending."""
        await self._tell("job-finalize")
        await asyncio.wait_for(self.until("concluded"), END_S)

    async def end(self) -> None:
        """Whatever it does, it is gone then. ``HypervisorSilent`` if it does not end."""
        deadline = asyncio.get_running_loop().time() + END_S
        while (now := (await self._look())[0]) != "null":
            # Refused in some states, which pass.
            with contextlib.suppress(HypervisorError):
                await self._tell("job-dismiss" if now == "concluded" else "job-cancel")
            if asyncio.get_running_loop().time() > deadline:
                raise HypervisorSilent(f"{self.domain}: QEMU's job {self.id} does not end")
            await asyncio.sleep(FIRST_LOOK_S)

    async def _look(self) -> tuple[str, int, int, str | None]:
        found = (await jobs(self.domain, self.monitor)).get(self.id)
        return ("null", 0, 0, None) if found is None else found

    async def _tell(self, command: str) -> None:
        await self.monitor.execute(command, {"id": self.id}, deadline_s=SLOW_S)

    def _stalled(self) -> HypervisorSilent:
        return HypervisorSilent(
            f"{self.domain}: a disk was copied no further for {STALLED_S:g} s",
            hint="is the server there that the old or the new one lies on? wirt pool info says so",
        )

    def _failed(self, words: str) -> HypervisorError | Shortage:
        if any(word in words for word in FULL_WORDS):
            return Shortage(f"{self.domain}: a disk is full: {plain(words)}", hint="wirt pool list shows the room")
        return HypervisorError(f"{self.domain}: QEMU's job {self.id} failed: {plain(words)}")


async def jobs(domain: str, monitor: Monitor) -> dict[str, tuple[str, int, int, str | None]]:
    try:
        return answers.jobs(await monitor.execute("query-jobs"))
    except Malformed as error:
        raise HypervisorError(f"{domain}: QEMU tells of a job with {error}") from error


@asynccontextmanager
async def running(
    domain: str, monitor: Monitor, command: str, arguments: Mapping[str, object]
) -> AsyncIterator[BlockJob]:
    """The job that ``command`` begins. Afterwards it is gone, whatever happened; cancelled or not. One that waits
    for a server can't go before that is back: then the next one here ends it."""
    job = BlockJob(domain, monitor, str(arguments["job-id"]))
    await job.end()
    try:
        await monitor.execute(command, {**arguments, "auto-dismiss": False}, deadline_s=SLOW_S)
        yield job
    except HypervisorSilent:
        with contextlib.suppress(HypervisorSilent):
            await to_the_end(job.end())
        raise
    except BaseException:
        await to_the_end(job.end())
        raise
    await to_the_end(job.end())


async def to_the_end(call: Coroutine[Any, Any, T]) -> T:
    """Its result. Whoever is cancelled meanwhile is cancelled in vain: what was begun here can't be left half
    done, and does not take long."""
    task = asyncio.ensure_future(call)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and not task.cancelled():
                current.uncancel()
        except BaseException:
            break
    return task.result()
