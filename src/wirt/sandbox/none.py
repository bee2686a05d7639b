"""The sandbox port where there is no jail: the process runs as it would without wirt, but leaves no core dump, and
``wirt info`` says so."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from wirt.plan.jail import JailHost, JailPlan, Limits
from wirt.plan.observed import PlannedFile
from wirt.ports.sandbox import Claim, JailedCommand, Outcome
from wirt.sandbox.facts import outcome

T = TypeVar("T")


class NoSandbox:
    def __init__(self, reason: str) -> None:
        self._reason = reason

    def host(self, program: str, names: Sequence[str]) -> JailHost:
        return JailHost(root=False, program=program, program_files=())

    async def trial(
        self, program: str, words: Sequence[str], given: bytes, descriptors: Sequence[int], *, io_uring: bool
    ) -> Outcome:
        return await outcome((program, *words), given, descriptors)

    async def claims(self) -> tuple[Claim, ...]:
        who = os.geteuid()
        return (
            Claim("jail", False, f"guests run without a jail: {self._reason}"),
            Claim("system calls", True, "QEMU's own filter holds (-sandbox on)"),
            Claim("cores", True, "QEMU leaves no core dump"),
            Claim("uid", False, f"each QEMU runs as uid {who}, as wirtd does, with all rights of that user"),
            Claim("files", False, f"QEMU sees every file that uid {who} may read"),
            Claim("namespaces", False, "QEMU is in the host's namespaces, that of its network among them"),
            Claim("memory", False, "no control group bounds what a run takes"),
        )

    async def prepare(self, plan: JailPlan) -> OpenDoor:
        return OpenDoor(plan.limits)

    async def clear(self, directory: Path) -> None:
        return None

    def beside(self, directory: Path, spawn: Callable[[int | None], T]) -> T:
        return spawn(None)

    def allow_file_bytes(self, pid: int, size_bytes: int) -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def note(
        self, directory: Path, pid: int, added: Sequence[PlannedFile] = (), file_bytes: int | None = None
    ) -> None:
        """Nothing was written down of its jail."""


class OpenDoor:
    """A jail that is none."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def command(self, argv: Sequence[str], inherited: Sequence[int]) -> JailedCommand:
        return JailedCommand(tuple(argv), tuple(inherited))

    def start(self, spawn: Callable[[], T]) -> T:
        return spawn()

    async def admit(self, pid: int, deadline_s: float) -> int:
        core = self._limits.core_bytes
        with contextlib.suppress(ProcessLookupError):  # that it ended is told by whoever watches it
            resource.prlimit(pid, resource.RLIMIT_CORE, (core, core))
        return pid

    def close(self) -> None:
        return None
