"""A guest's file systems, frozen for a moment and never for longer, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from wirt.hypervisors.qemu import agent_answers
from wirt.hypervisors.qemu.guest_agent import Agent, AgentRefused
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.errors import HypervisorError, Shortage

FREEZE_S = 10.0
"""To write out all that a guest has not written yet takes time."""
LET_GO_S = 2.0
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 10.0


class Freezer:
    """Of one run. ``mark`` is a file that is there while the guest may be frozen: what a new daemon goes by."""

    def __init__(self, agent: Agent, mark: Path, held_s: float) -> None:
        self._agent = agent
        self._mark = mark
        self._held_s = held_s
        self._timer: asyncio.Task[None] | None = None

    async def freeze(self) -> int:
        """How many file systems are held from now on, for ``held_s`` at most. On an error they are thawed as soon
        as the agent can be reached."""
        self.end()
        try:
            self._mark.touch(mode=0o600)
        except OSError as error:
            raise Shortage(
                f"{self._agent.name}: its file systems are not frozen, since that can't be written down at"
                f" {self._mark}: {error.strerror}",
                hint="make room on that file system",
            ) from error
        try:
            count = agent_answers.count(await self._agent.ask("guest-fsfreeze-freeze", deadline_s=FREEZE_S))
        except Malformed as error:
            self._thaw_after(0)
            raise HypervisorError(f"{self._agent.name}: its guest agent gave {error} to a freeze") from error
        except BaseException:
            self._thaw_after(0)
            raise
        self._thaw_after(self._held_s)
        return count

    async def thaw(self) -> int:
        """How many file systems had been held. On an error it is tried again, until the run is over."""
        self.end()
        try:
            return await self._thaw()
        except BaseException:
            self._thaw_after(FIRST_RETRY_S)
            raise

    def take_over(self) -> None:
        """Thaw what an earlier daemon has left frozen."""
        if self._mark.exists():
            self._thaw_after(0)

    async def let_go(self) -> None:
        """The daemon ends: thaw at once, or leave it to the next."""
        self.end()
        if self._mark.exists():
            with contextlib.suppress(HypervisorError, TimeoutError):
                await asyncio.wait_for(self._thaw(), LET_GO_S)

    def end(self) -> None:
        """There is nothing to wait for any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _thaw(self) -> int:
        try:
            count = agent_answers.count(await self._agent.ask("guest-fsfreeze-thaw"))
        except Malformed as error:
            raise HypervisorError(f"{self._agent.name}: its guest agent gave {error} to a thaw") from error
        except AgentRefused:
            # It is there, and can't or won't; asking again would not change that.
            self._mark.unlink(missing_ok=True)
            raise
        self._mark.unlink(missing_ok=True)
        return count

    def _thaw_after(self, wait_s: float) -> None:
        self._timer = asyncio.create_task(self._keep_thawing(wait_s))

    async def _keep_thawing(self, wait_s: float) -> None:
        pause_s = FIRST_RETRY_S
        await asyncio.sleep(wait_s)
        while True:
            with contextlib.suppress(HypervisorError):
                await self._thaw()
            if not self._mark.exists():
                return
            # Paused, perhaps, or its agent died; as soon as it can hear again it will.
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_RETRY_S)
