"""The sandbox port where there is no jail: the process runs as it would without wirt, and ``wirt info`` says
so."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from wirt.plan.jail import JailHost, JailPlan
from wirt.ports.sandbox import Claim, JailedCommand

T = TypeVar("T")


class NoSandbox:
    def __init__(self, reason: str) -> None:
        self._reason = reason

    def host(self, program: str, names: Sequence[str]) -> JailHost:
        return JailHost(root=False, program=program, program_files=())

    async def claims(self) -> tuple[Claim, ...]:
        return (Claim("jail", False, f"guests run without a jail: {self._reason}"),)

    async def prepare(self, plan: JailPlan) -> OpenDoor:
        return OpenDoor()

    async def clear(self, directory: Path) -> None:
        return None

    def allow_file_bytes(self, pid: int, size_bytes: int) -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


class OpenDoor:
    """A jail that is none."""

    def command(self, argv: Sequence[str], inherited: Sequence[int]) -> JailedCommand:
        return JailedCommand(tuple(argv), tuple(inherited))

    def start(self, spawn: Callable[[], T]) -> T:
        return spawn()

    async def admit(self, pid: int, deadline_s: float) -> int:
        return pid

    def close(self) -> None:
        return None
