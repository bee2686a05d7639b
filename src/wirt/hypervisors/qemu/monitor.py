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

from qemu.qmp import ExecInterruptedError, ExecuteError, Message, QMPClient, QMPError
from qemu.qmp.error import ProtocolError
from qemu.qmp.protocol import Runstate

from wirt.hypervisors.qemu import answers, events, sockets
from wirt.hypervisors.qemu.untrusted import MOST_LINE_BYTES, BoundedLines, Malformed, parse
from wirt.model.errors import HypervisorError, HypervisorSilent
from wirt.model.text import plain
from wirt.ports.guest_agent import HELD_S

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a QEMU may take, in seconds, before it is taken to hang. It says hello within 25 to 75 ms
    (measured). ``quit_s`` is what flushing the disks may take before the process is killed; ``unplug_s`` what the
    guest may take to let go of a device; ``held_s`` how long its file systems stay frozen when nobody thaws
    them."""

    greeting_s: float = 10.0
    command_s: float = 5.0
    quit_s: float = 3.0
    unplug_s: float = 10.0
    held_s: float = HELD_S


# The library logs what we report as errors of our own; twice is once too often.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL + 1)

_TAKEN_OVER = "an honest QEMU does not; its guest may have taken it over: wirt destroy ends it"

EventSink = Callable[[Mapping[str, Any]], None]


class _Client(QMPClient):
    """The library's client for a peer that a guest may have taken over: what it says is read in bounds, and no
    event is kept (the library keeps every one it ever saw). ``trouble`` says why the connection was given up."""

    def __init__(self, name: str, sink: EventSink) -> None:
        super().__init__(name, readbuflen=MOST_LINE_BYTES)
        self.trouble: str | None = None
        self._sink = sink
        self._lines: BoundedLines | None = None

    async def _do_recv(self) -> Message:
        if self._lines is None:
            assert self._reader is not None
            self._lines = BoundedLines(self._reader, cost=events.cost)
        try:
            return Message(parse(await self._lines.next()), eager=False)
        except Malformed as error:
            self.trouble = f"it said {error}"
            raise ProtocolError(self.trouble) from error

    async def _on_message(self, msg: Message) -> None:
        if "event" not in msg and not isinstance(msg.get("id"), str | None):
            self.trouble = "it answered a question that nobody asks"
            raise ProtocolError(self.trouble)
        await super()._on_message(msg)

    async def _event_dispatch(self, msg: Message) -> None:
        self._sink(msg)

    def _cb_inbound(self, msg: Message) -> Message:
        """The library writes each message down for its log, whether there is one or not."""
        return msg

    def _cb_outbound(self, msg: Message) -> Message:
        return msg


class Monitor:
    """One control connection to one QEMU. ``name`` is the domain's, for messages."""

    def __init__(self, name: str, client: _Client, command_s: float) -> None:
        self._name = name
        self._command_s = command_s
        self._client = client
        self._handing = asyncio.Lock()

    @classmethod
    async def connect(cls, name: str, path: Path, sink: EventSink, patience: Patience) -> Monitor:
        """Connect, read the greeting, negotiate. ``HypervisorSilent`` if that takes longer than ``patience``
        has, ``HypervisorError`` if nobody is there or it speaks another language."""
        client = _Client(name, sink)
        try:
            await _in_time(name, "its greeting", patience.greeting_s, client.connect(sockets.connect(path)))
        except (OSError, QMPError, EOFError) as error:
            raise HypervisorError(f"{name}: its control socket can't be used: {_reason(error)}") from error
        return cls(name, client, patience.command_s)

    @property
    def connected(self) -> bool:
        return self._client.runstate is Runstate.RUNNING

    async def execute(
        self, command: str, arguments: Mapping[str, object] | None = None, *, deadline_s: float | None = None
    ) -> Any:
        """``command``'s return value, which has the shape that it should (:mod:`answers`). ``HypervisorError``
        carries QEMU's own description; ``HypervisorSilent`` after ``deadline_s``, or the time that a command
        usually has."""
        deadline_s = self._command_s if deadline_s is None else deadline_s
        call = self._client.execute(command, dict(arguments) if arguments else None)
        try:
            answer = await _in_time(self._name, f"an answer to {command}", deadline_s, call)
            answers.check(command, answer)
        except Malformed as error:
            raise HypervisorError(f"{self._name}: QEMU gave {error} to {command}", hint=_TAKEN_OVER) from error
        except ExecuteError as error:
            raise HypervisorError(f"{self._name}: QEMU refused {command}: {plain(error)}") from error
        except (ExecInterruptedError, QMPError, OSError) as error:
            if self._client.trouble is not None:
                raise HypervisorError(
                    f"{self._name}: QEMU is no longer listened to: {self._client.trouble}", hint=_TAKEN_OVER
                ) from error
            raise HypervisorError(f"{self._name}: QEMU went away during {command}") from error
        return answer

    async def hand_over(self, name: str, descriptor: int) -> None:
        """Give QEMU an open file, called ``name`` from then on (QMP getfd). One at a time."""
        await self._hand("getfd", {"fdname": name}, descriptor)

    async def add_file(self, descriptor: int, what: str, set_: int | None = None) -> int:
        """Give QEMU an open file as ``/dev/fdset/N``, and tell N (QMP add-fd): of a new set, or of that number.
        ``what`` has no meaning to QEMU."""
        arguments = {"opaque": what, **({} if set_ is None else {"fdset-id": set_})}
        answer = await self._hand("add-fd", arguments, descriptor)
        try:
            return answers.added_to(answer)
        except Malformed as error:
            raise HypervisorError(f"{self._name}: QEMU gave {error} to add-fd", hint=_TAKEN_OVER) from error

    async def _hand(self, command: str, arguments: Mapping[str, object], descriptor: int) -> Any:
        async with self._handing:
            try:
                self._client.send_fd_scm(descriptor)
            except (QMPError, OSError) as error:
                raise HypervisorError(f"{self._name}: QEMU took no descriptor: {error}") from error
            return await self.execute(command, arguments)

    async def close(self) -> None:
        """Let go of the connection; QEMU goes on. Never fails: what is left to say no longer matters."""
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await asyncio.wait_for(self._client.disconnect(), 1.0)


async def negotiate_and_leave(name: str, path: Path, patience: Patience) -> None:
    """Open the event monitor once. From then on QEMU writes every event to its log, connected or not: a monitor
    reports events only after its first negotiation."""
    client = _Client(name, lambda event: None)
    try:
        await _in_time(name, "its event greeting", patience.greeting_s, client.connect(sockets.connect(path)))
    except (OSError, QMPError, EOFError) as error:
        raise HypervisorError(f"{name}: its event socket can't be used: {_reason(error)}") from error
    with contextlib.suppress(QMPError, OSError, EOFError):
        await asyncio.wait_for(client.disconnect(), 1.0)


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
            return plain(cause) or type(cause).__name__
        cause = inner
