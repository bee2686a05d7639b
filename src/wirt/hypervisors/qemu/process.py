"""QEMU as a process of the host: started, recognised again, watched, ended. Linux only (pidfd, /proc)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wirt.hypervisors.qemu import logs
from wirt.model.errors import HypervisorSilent, LaunchFailed
from wirt.model.text import plain

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
LAST_WORDS_BYTES = 4096
PASSED_ON_S = 0.2


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process for good: a pid alone may be given away again, a pid with its start time may not
    (proc(5), /proc/pid/stat, field 22)."""

    pid: int
    started_ticks: int


class Process:
    """One QEMU. It may be our child or one that an earlier daemon started; both are watched through a pidfd,
    which also tells of a zombie that its own parent has not reaped."""

    def __init__(self, identity: ProcessId, pidfd: int, child: subprocess.Popen[bytes] | None) -> None:
        self.identity = identity
        self._pidfd = pidfd
        self._child = child
        self._gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, self._ended)

    @property
    def gone(self) -> bool:
        return self._gone.is_set()

    async def wait(self) -> None:
        await self._gone.wait()

    async def wait_until(self, deadline_s: float) -> bool:
        """Whether it ended within ``deadline_s``."""
        try:
            await asyncio.wait_for(self._gone.wait(), deadline_s)
        except TimeoutError:
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        if not self.gone:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                self._ended()

    async def kill(self, deadline_s: float = 5.0) -> None:
        """SIGKILL; ``HypervisorSilent`` if even that takes longer than ``deadline_s`` (stuck in the kernel)."""
        self._kill_group()
        self.signal(signal.SIGKILL)
        if not await self.wait_until(deadline_s):
            raise HypervisorSilent(
                f"process {self.identity.pid} does not die",
                hint="it waits in the kernel, as on a vanished disk: see /proc/PID/stack",
            )

    def _kill_group(self) -> None:
        """What was started may be a script around QEMU, which would outlive it: all of its session's first group.
        As long as the process lives its number can't be another group's."""
        if not self.gone:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getpgid(self.identity.pid) == self.identity.pid:
                    os.killpg(self.identity.pid, signal.SIGKILL)

    def detach(self) -> None:
        """Stop watching; the process goes on."""
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def cpu_time_s(self) -> float:
        """User and system time of all its threads, in seconds; 0 when it is gone."""
        fields = _stat_fields(self.identity.pid)
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S if fields else 0.0

    def has_own_network(self) -> bool:
        """Whether it is in another network namespace than we are; so is one that can't be looked at."""
        try:
            return Path(f"/proc/{self.identity.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
        except OSError:
            return True

    def file_bytes(self) -> int | None:
        """How long it may make a file; ``None`` if there is no limit, or it is gone. Asking the kernel for it
        outright takes a right over another user's process (prlimit(2)); reading does not (proc(5), limits)."""
        try:
            lines = Path(f"/proc/{self.identity.pid}/limits").read_text().splitlines()
        except OSError:
            return None
        soft = next((line[26:].split()[0] for line in lines if line.startswith("Max file size")), "unlimited")
        return int(soft) if soft.isdecimal() else None

    def sleeping(self) -> bool:
        """Whether none of its threads runs or wants to."""
        try:
            tasks = list(os.scandir(f"/proc/{self.identity.pid}/task"))
        except OSError:
            return True
        for task in tasks:
            try:
                if Path(task.path, "stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "R":
                    return False
            except (OSError, IndexError):
                continue
        return True

    def exit_words(self) -> str:
        """How it ended, for people: 'exit status 1' or 'signal SIGSEGV'. Known for our own children only."""
        code = self._exit_code()
        if code is None:
            return "it ended"
        if code >= 0:
            return f"exit status {code}"
        # In a jail the number is what the program chose to end with, and may be no signal's.
        return f"signal {signal.Signals(-code).name if -code in set(signal.Signals) else -code}"

    def _exit_code(self) -> int | None:
        """bwrap passes it on a moment after QEMU's end: 128 and a signal's number for a signal."""
        if self._child is None:
            return None
        try:
            code = self._child.wait(PASSED_ON_S)
        except subprocess.TimeoutExpired:
            return None
        jailed = self._child.pid != self.identity.pid
        return 128 - code if jailed and code > 128 else code

    def _ended(self) -> None:
        self.detach()
        if self._child is not None:
            self._child.poll()
        self._gone.set()


def start(command: Sequence[str], inherited: Sequence[int], log: Path) -> subprocess.Popen[bytes]:
    """Start ``command`` in a session of its own, so that no signal meant for the daemon reaches a guest.

    ``inherited`` descriptors keep their numbers; output goes to ``log``. Raises ``LaunchFailed`` when it can't
    be executed at all.
    """
    log.write_bytes(b"")
    # Appending, so that the log can be kept small while it grows.
    with log.open("ab") as output:
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                pass_fds=tuple(inherited),
                start_new_session=True,
                restore_signals=False,
            )
        except OSError as error:
            raise LaunchFailed(
                f"{command[0]} can't be started: {error.strerror}",
                hint="install it (make setup; Debian: apt-get install qemu-system-x86), or set WIRT_QEMU",
            ) from error


def watched(child: subprocess.Popen[bytes], pid: int) -> Process:
    """``pid`` is ``child`` itself, or the one that it started in a jail and waits for."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError as error:
        raise LaunchFailed("QEMU ended in start-up") from error
    fields = _stat_fields(pid)
    return Process(ProcessId(pid, int(fields[19]) if fields else 0), pidfd, child)


def spawn(command: Sequence[str], inherited: Sequence[int], log: Path) -> Process:
    child = start(command, inherited, log)
    return watched(child, child.pid)


def adopt(identity: ProcessId) -> Process | None:
    """The process that ``identity`` names, if it still lives (a zombie does not)."""
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    fields = _stat_fields(identity.pid)
    ready, _, _ = select.select([pidfd], [], [], 0)
    if ready or not fields or int(fields[19]) != identity.started_ticks:
        os.close(pidfd)
        return None
    return Process(identity, pidfd, None)


def find(directory: Path) -> list[ProcessId]:
    """QEMUs that keep their logs in ``directory``, with the jails around them and the passts beside them: what a
    crash between the start and its record leaves behind. Reads every process's command line, so it is for recovery
    only."""
    found = []
    log, passt = os.fsencode(f"={directory}/console.log".replace(",", ",,")), os.fsencode(f"{directory}/passt-")
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].startswith(passt) or any(log in word for word in words):
            fields = _stat_fields(int(entry.name))
            if fields:
                found.append(ProcessId(int(entry.name), int(fields[19])))
    return found


def names_within(directory: Path) -> set[str]:
    """What processes call themselves that have a name in ``directory``, as passts do. Reads every process's
    command line, so it is for recovery only."""
    names = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                names.add(os.fsdecode(Path(entry.path, "cmdline").read_bytes().split(b"\0")[0]))
    return {name for name in names if name.startswith(f"{directory}/")}


def last_words(log: Path) -> str:
    """The end of what QEMU printed, as one readable line. Some of it the guest may have written."""
    text = logs.newest(log, LAST_WORDS_BYTES).decode(errors="replace")
    lines = [line.strip() for line in text.split("\n") if line.strip() and ": warning: " not in line]
    return plain("; ".join(lines), LAST_WORDS_BYTES)


def _stat_fields(pid: int) -> list[str]:
    """/proc/PID/stat from its third field on (the second may hold spaces and brackets)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()
