"""QMP with deadlines: a dead or mute QEMU is an error in seconds, never a hang.

The protocol itself is QEMU's own library ``qemu.qmp``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from qemu.qmp import ExecInterruptedError, ExecuteError, QMPClient, QMPError
from qemu.qmp.events import EventListener
from qemu.qmp.protocol import Runstate

from wirt.hypervisors.qemu import sockets
from wirt.model.errors import HypervisorError, HypervisorSilent

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a QEMU may take, in seconds, before it is taken to hang. It says hello within 25 to 75 ms
    (measured). ``quit_s`` is what flushing the disks may take before the process is killed."""

    greeting_s: float = 10.0
    command_s: float = 5.0
    quit_s: float = 3.0


# The library logs what we report as errors of our own; twice is once too often.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)

EventSink = Callable[[Mapping[str, Any]], None]


class Monitor:
    """One control connection to one QEMU. ``name`` is the domain's, for messages."""

    def __init__(self, name: str, client: QMPClient, sink: EventSink, command_s: float) -> None:
        self._name = name
        self._command_s = command_s
        self._client = client
        self._handing = asyncio.Lock()
        self._events = asyncio.create_task(_pump(client, sink))

    @classmethod
    async def connect(cls, name: str, path: Path, sink: EventSink, patience: Patience) -> Monitor:
        """Connect, read the greeting, negotiate. ``HypervisorSilent`` if that takes longer than ``patience``
        has, ``HypervisorError`` if nobody is there or it speaks another language."""
        client = QMPClient(name)
        try:
            await _in_time(name, "its greeting", patience.greeting_s, client.connect(sockets.connect(path)))
        except (OSError, QMPError, EOFError) as error:
            raise HypervisorError(f"{name}: its control socket can't be used: {_reason(error)}") from error
        return cls(name, client, sink, patience.command_s)

    @property
    def connected(self) -> bool:
        return self._client.runstate is Runstate.RUNNING

    async def execute(
        self, command: str, arguments: Mapping[str, object] | None = None, *, deadline_s: float | None = None
    ) -> Any:
        """``command``'s return value. ``HypervisorError`` carries QEMU's own description; ``HypervisorSilent``
        after ``deadline_s``, or the time that a command usually has."""
        deadline_s = self._command_s if deadline_s is None else deadline_s
        call = self._client.execute(command, dict(arguments) if arguments else None)
        try:
            return await _in_time(self._name, f"an answer to {command}", deadline_s, call)
        except ExecuteError as error:
            raise HypervisorError(f"{self._name}: QEMU refused {command}: {error}") from error
        except (ExecInterruptedError, QMPError, OSError) as error:
            raise HypervisorError(f"{self._name}: QEMU went away during {command}") from error

    async def hand_over(self, name: str, descriptor: int) -> None:
        """Give QEMU an open file, called ``name`` from then on (QMP getfd). One at a time."""
        async with self._handing:
            try:
                self._client.send_fd_scm(descriptor)
            except (QMPError, OSError) as error:
                raise HypervisorError(f"{self._name}: QEMU took no descriptor: {error}") from error
            await self.execute("getfd", {"fdname": name})

    async def close(self) -> None:
        """Let go of the connection; QEMU goes on. Never fails: what is left to say no longer matters."""
        self._events.cancel()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await asyncio.wait_for(self._client.disconnect(), 1.0)


async def negotiate_and_leave(name: str, path: Path, patience: Patience) -> None:
    """Open the event monitor once. From then on QEMU writes every event to its log, connected or not: a monitor
    reports events only after its first negotiation."""
    client = QMPClient(name)
    try:
        await _in_time(name, "its event greeting", patience.greeting_s, client.connect(sockets.connect(path)))
    except (OSError, QMPError, EOFError) as error:
        raise HypervisorError(f"{name}: its event socket can't be used: {_reason(error)}") from error
    with contextlib.suppress(QMPError, OSError, EOFError):
        await asyncio.wait_for(client.disconnect(), 1.0)


async def _pump(client: QMPClient, sink: EventSink) -> None:
    listener: EventListener = client.events
    async for event in listener:
        sink(event)


async def _in_time(name: str, what: str, deadline_s: float, call: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(call, deadline_s)
    except TimeoutError as error:
        raise HypervisorSilent(
            f"{name}: QEMU did not give {what} within {deadline_s:g} s",
            hint="the guest may still run; wirt destroy ends it",
        ) from error


def _reason(error: BaseException) -> str:
    """The innermost cause: qemu.qmp wraps what happened in two layers of its own."""
    cause = error
    while True:
        inner = getattr(cause, "exc", None) or cause.__cause__
        if inner is None:
            return str(cause) or type(cause).__name__
        cause = inner
