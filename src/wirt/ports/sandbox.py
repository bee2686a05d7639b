"""What wirt asks of the thing that keeps a hypervisor's process away from everything that is not its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from wirt.plan.jail import JailHost, JailPlan
from wirt.plan.observed import PlannedFile

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Claim:
    """One promise of the jail on this host, for ``wirt info``: whether it holds, and a sentence that says why."""

    name: str
    holds: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class JailedCommand:
    """To be executed as it stands, with ``inherited`` descriptors keeping their numbers.

    Signals that the daemon ignores must stay ignored (``restore_signals=False``): a write beyond the file limit is
    then an error to QEMU, and not its end (SIGXFSZ, setrlimit(2)).
    """

    argv: tuple[str, ...]
    inherited: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a program: whether it ended ``well``, and what it said at the end of its standard error."""

    well: bool
    words: str = ""


class Jail(Protocol):
    """One run's jail between its plan and its first instruction. ``close`` always, also after a failure; the jail
    of a process that was admitted stays until :meth:`Sandbox.clear`."""

    def command(self, argv: Sequence[str], inherited: Sequence[int]) -> JailedCommand:
        """``argv`` in the jail. ``inherited`` is all that the process will have open beside its output."""
        ...

    def start(self, spawn: Callable[[], T]) -> T:
        """What ``spawn`` answers, which starts the command. It is called in a thread whose children are in the
        run's control group from their first moment."""
        ...

    async def admit(self, pid: int, deadline_s: float) -> int:
        """Lay the limits on the process that was started as ``pid`` and let it go on; the pid of the program
        itself, which is the one to record and to watch. ``pid`` stays as its parent, and passes its exit status
        on (128 and the signal's number, if one ended it).

        ``LaunchFailed`` if the jail could not be built (why is in the process's output; one that fails late may
        just have ended by then), ``HypervisorSilent`` after ``deadline_s``. Nothing of the program has run then.
        """
        ...

    def close(self) -> None: ...


class Sandbox(Protocol):
    """Errors: ``Shortage`` (no free uid, no room), ``Unavailable`` (the host refuses what it was said to
    allow)."""

    def host(self, program: str, names: Sequence[str]) -> JailHost:
        """What a plan must know: ``program`` is the hypervisor's binary, ``names`` the files that it will open by
        name."""
        ...

    async def claims(self) -> tuple[Claim, ...]: ...

    async def trial(
        self, program: str, words: Sequence[str], given: bytes, descriptors: Sequence[int], *, io_uring: bool
    ) -> Outcome:
        """Run ``program`` once in a jail with nothing but ``descriptors`` and ``given`` on standard input.
        ``io_uring``: whether the jail leaves it that."""
        ...

    async def prepare(self, plan: JailPlan) -> Jail:
        """Everything that can be made before the process: the directory's own small file system, the control
        groups, the uid. The run's directory exists and is empty. Undone by :meth:`clear`."""
        ...

    async def clear(self, directory: Path) -> None:
        """Take away what is left of the run that had ``directory``, whose processes have ended. The directory may
        be removed afterwards. Nothing left is no error."""
        ...

    def beside(self, directory: Path, spawn: Callable[[int | None], T]) -> T:
        """What ``spawn`` answers, which starts a helper of the run in ``directory`` outside of its jail and is
        given a uid for it: one of the run's own (``None``: the caller's, or who the helper becomes by itself). It
        is called in a thread whose children are in the run's control group where that costs nothing, and so go
        with it at the latest. Blocks as long as ``spawn`` does. Prepared before."""
        ...

    def allow_file_bytes(self, pid: int, size_bytes: int) -> None:
        """Move the file limit of a process that runs: its disk is about to be made larger. ``Unavailable`` where
        that can't be done; a process that is gone is no error."""
        ...

    def note(
        self, directory: Path, pid: int, added: Sequence[PlannedFile] = (), file_bytes: int | None = None
    ) -> None:
        """Write down, for whoever audits the run in ``directory``, which disks' files its process ``pid`` is given
        while it runs, and how long files may become; those that it has closed are left out. ``Shortage`` if there
        is no room to write it."""
        ...
