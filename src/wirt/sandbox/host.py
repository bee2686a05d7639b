"""The jail on this host: bubblewrap's namespaces, control groups, a uid, limits, and a bounded directory.

bwrap forks before it builds anything, tells the child's pid and then waits at a gate (``--json-status-fd``,
``--block-fd``). In that moment the child gets its limits and its group; so nothing of the program ever runs
without them, and a daemon that dies in between leaves a process that waits for ever and can be found and ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from wirt.model.errors import HypervisorSilent, LaunchFailed, Shortage, Unavailable
from wirt.plan.jail import CREDENTIALS, JailHost, JailPlan, Limits, Uids
from wirt.plan.observed import PlannedFile, planned_jail
from wirt.ports.sandbox import Claim, JailedCommand, Outcome
from wirt.sandbox import bubblewrap, cgroups, facts, places, seccomp
from wirt.sandbox import record as audit_record
from wirt.sandbox.bubblewrap import Ends, Tools
from wirt.sandbox.cgroups import Group, Hierarchies
from wirt.sandbox.uids import UidClaims

T = TypeVar("T")

RECORD = "jail.json"
"""Written before the groups are made, so that whoever clears the run knows them."""


class HostSandbox:
    """``root``: whether this daemon may give uids and mount. ``hierarchies`` may be none at all."""

    def __init__(
        self, tools: Tools, hierarchies: Hierarchies, claims: UidClaims | None = None, *, root: bool
    ) -> None:
        self._tools = tools
        self._hierarchies = hierarchies
        self._claims = claims or UidClaims()
        self._root = root
        self._bounded = root and facts.mounts_stay()
        self._filters = {each: seccomp.program(os.uname().machine, io_uring=each) for each in (False, True)}
        self._refusal: str | None = None
        self._tried = False

    @classmethod
    def here(cls) -> HostSandbox:
        """With what this host has. ``Unavailable`` if it has no bubblewrap; whether it lets bubblewrap work says
        :meth:`refusal`."""
        hierarchies = facts.hierarchies()
        return cls(facts.tools(), hierarchies, root=facts.may_be_root())

    @property
    def hierarchies(self) -> Hierarchies:
        return self._hierarchies

    @property
    def controllers(self) -> frozenset[str]:
        return self._hierarchies.controllers

    def host(self, program: str, names: Sequence[str]) -> JailHost:
        return facts.jail_host(program, names, root=self._root)

    async def refusal(self) -> str | None:
        """Why no jail can be built here, found out by building one, once; ``None`` if it can."""
        if not self._tried:
            self._refusal = await facts.refusal(self._tools, root=self._root)
            self._tried = True
        return self._refusal

    async def trial(
        self, program: str, words: Sequence[str], given: bytes, descriptors: Sequence[int], *, io_uring: bool
    ) -> Outcome:
        filter_ = self._filters[io_uring]
        with contextlib.ExitStack() as stack:
            loaded = None if filter_ is None else _in_memory(filter_)
            if loaded is not None:
                stack.callback(os.close, loaded)
            trial = facts.Trial(program, words, given, tuple(descriptors), loaded)
            return await facts.trial(self._tools, trial, root=self._root)

    async def claims(self) -> tuple[Claim, ...]:
        refusal, filtered = await self.refusal(), self._filters[False] is not None
        return facts.claims(refusal, self._hierarchies, root=self._root, bounded=self._bounded, filtered=filtered)

    async def prepare(self, plan: JailPlan) -> HostJail:
        directory = Path(plan.directory)
        try:
            return self._prepare(plan, directory)
        except BaseException as error:
            await self.clear(directory)
            if isinstance(error, OSError):
                raise Unavailable(
                    f"no jail can be made for {plan.name}: {error.strerror}: {error.filename}",
                    hint="wirt info says what this host allows",
                ) from error
            raise

    def _prepare(self, plan: JailPlan, directory: Path) -> HostJail:
        if self._bounded:
            places.bound(directory, plan.logs_bytes)
        # Shown to QEMU, which another uid runs; the directory around it is root's alone.
        (directory / CREDENTIALS).mkdir(mode=0o755, exist_ok=True)
        group = cgroups.group_of(self._hierarchies, plan.name)
        uids = None if plan.uids is None else [plan.uids.base, plan.uids.count, plan.uids.start]
        unified = None if group.unified is None else str(group.unified)
        record = {"groups": [str(place) for place in group.legacy], "unified": unified, "uids": uids}
        (directory / RECORD).touch(0o600)
        (directory / RECORD).write_text(json.dumps(record))
        places.keep_room(directory / "events.log", places.EVENTS_BYTES)
        uid = self._claims.take(plan.uids, directory) if plan.uids is not None else None
        self._keep_for_audit(plan, uid, group)
        group = self._make_group(plan)
        return HostJail(plan, uid, group, self._tools, self._filters[plan.io_uring])

    def _keep_for_audit(self, plan: JailPlan, uid: int | None, group: Group) -> None:
        """What the jail is meant to be, for whoever compares it with what it is."""
        places = tuple(map(str, group.places))
        tools = (self._tools.setpriv,) if uid is not None else ()
        filtered = self._filters[False] is not None
        planned = planned_jail(
            plan,
            uid,
            places,
            device_rules=cgroups.ALLOWED_DEVICES,
            filtered=filtered,
            tools=tools,
            identities=audit_record.identities(file.path for file in plan.handed if file.layer is not None),
        )
        audit_record.write(Path(plan.directory), planned)

    def _make_group(self, plan: JailPlan) -> Group:
        try:
            return cgroups.make(self._hierarchies, plan.name, plan.limits)
        except OSError as error:
            if error.errno != errno.EBUSY or self._hierarchies.unified is None:
                raise
            cgroups.leave_room(self._hierarchies.unified, os.getpid())
            return cgroups.make(self._hierarchies, plan.name, plan.limits)

    async def clear(self, directory: Path) -> None:
        group = _recorded(directory).group
        group.kill()
        if not group.gone():
            await asyncio.to_thread(group.remove)
        if self._root:
            self._claims.release(directory)
            with contextlib.suppress(OSError):
                places.unbound(directory)

    def beside(self, directory: Path, spawn: Callable[[int | None], T]) -> T:
        record = _recorded(directory)
        uid = self._claims.take(record.uids, directory) if record.uids is not None else None
        return _in_group(record.group, directory.name, lambda: spawn(uid))

    def allow_file_bytes(self, pid: int, size_bytes: int) -> None:
        try:
            _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, most))
        except ProcessLookupError:
            return
        except (PermissionError, ValueError) as error:
            raise Unavailable(
                "the limit on the length of a running guest's disks can't be moved here",
                hint="root without CAP_SYS_RESOURCE may not; shut the guest down, make the disk larger, start it",
            ) from error

    def note(
        self, directory: Path, pid: int, added: Sequence[PlannedFile] = (), file_bytes: int | None = None
    ) -> None:
        try:
            audit_record.change(directory, pid, added, file_bytes)
        except (FileNotFoundError, ProcessLookupError):
            return  # the process is gone, and its record with it
        except OSError as error:
            raise Shortage(
                f"it can't be written down what a run is given: {error.strerror}", hint="make room in WIRT_HOME"
            ) from error


class HostJail:
    """Made by :class:`HostSandbox`. Holds the near ends of bwrap's descriptors until it is closed."""

    def __init__(self, plan: JailPlan, uid: int | None, group: Group, tools: Tools, program: bytes | None) -> None:
        self.uid = uid
        self._plan = plan
        self._group = group
        self._tools = tools
        self._stack = contextlib.ExitStack()
        self._theirs = self._stack.enter_context(contextlib.ExitStack())
        with self._closed_on_failure():
            self._status, status = os.pipe()
            self._stack.callback(os.close, self._status)
            self._close_after_start(status)
            gate, self._gate = os.pipe()
            self._stack.callback(os.close, self._gate)
            self._stack.callback(os.close, gate)
            # Open for writing as well: without a daemon it is never at its end, and the gate stays shut.
            both = self._close_after_start(os.open(f"/proc/self/fd/{gate}", os.O_RDWR | os.O_CLOEXEC))
            copies = {path: self._close_after_start(_open_to_copy(path)) for path in plan.copied}
            filter_ = self._close_after_start(_in_memory(program)) if program is not None else None
            self._ends = Ends(status, both, filter_, copies)

    def command(self, argv: Sequence[str], inherited: Sequence[int]) -> JailedCommand:
        ends = self._ends
        own = [ends.status, ends.gate, *ends.copies.values(), *([ends.filter] if ends.filter is not None else [])]
        words = bubblewrap.command_line(self._plan, argv, self.uid, self._tools, ends)
        return JailedCommand(words, (*inherited, *own))

    def start(self, spawn: Callable[[], T]) -> T:
        return _in_group(self._group, self._plan.name, spawn)

    async def admit(self, pid: int, deadline_s: float) -> int:
        self._theirs.close()
        try:
            async with asyncio.timeout(deadline_s):
                inside = await self._child()
        except TimeoutError as error:
            raise HypervisorSilent(f"the jail of {self._plan.name} was not begun in {deadline_s:g} s") from error
        try:
            self._group.add(inside)
            lay_limits(inside, self._plan.limits, movable=self._ends.filter is not None)
        except ProcessLookupError:
            return inside  # the jail could not be built: whoever watches it learns of its end
        except (OSError, ValueError) as error:
            raise LaunchFailed(f"the jail of {self._plan.name} can't be closed around it: {error}") from error
        os.write(self._gate, b"1")
        return inside

    def close(self) -> None:
        self._stack.close()

    async def _child(self) -> int:
        """The pid that bwrap tells: one JSON object a line, the first with ``child-pid``."""
        text = b""
        while b"\n" not in text:
            await _readable(self._status)
            more = os.read(self._status, 4096)
            if not more:
                raise LaunchFailed(f"the jail of {self._plan.name} could not be built")
            text += more
        return int(json.loads(text.splitlines()[0])["child-pid"])

    def _close_after_start(self, descriptor: int) -> int:
        self._theirs.callback(os.close, descriptor)
        return descriptor

    @contextlib.contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise


def lay_limits(pid: int, limits: Limits, *, movable: bool) -> None:
    """Both bounds of each (setrlimit(2)). ``movable``: the process can't raise its limits anyway, so the hard
    bound of the file limit stays open for a daemon without rights to move the soft one."""
    for kind, value in (
        (resource.RLIMIT_CORE, limits.core_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.prlimit(pid, kind, (value, value))
    most = resource.RLIM_INFINITY if movable else limits.file_bytes
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limits.file_bytes, most))


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


def _open_to_copy(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LaunchFailed(f"{path} can't be read: {error.strerror}") from error


def _in_memory(data: bytes) -> int:
    descriptor = os.memfd_create("wirt-filter", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError as error:
        os.close(descriptor)
        raise Shortage(f"no memory for a filter of system calls: {error.strerror}") from error
    return descriptor


def _in_group(group: Group, name: str, spawn: Callable[[], T]) -> T:
    def enter_and_spawn() -> T:
        try:
            group.join()
        except OSError as error:
            raise LaunchFailed(f"the control group of {name} can't be entered: {error.strerror}") from error
        return spawn()

    # A thread of its own, which ends in there: there is no way back that could fail.
    with ThreadPoolExecutor(1, "wirt-jail") as thread:
        return thread.submit(enter_and_spawn).result()


def recorded_group(directory: Path) -> Group:
    """Where the run in ``directory`` is held; nowhere, if that was never written down."""
    return _recorded(directory).group


@dataclass(frozen=True, slots=True)
class _Record:
    """What was written down about a run; nothing where nothing can be read."""

    group: Group = field(default_factory=Group)
    uids: Uids | None = None


def _recorded(directory: Path) -> _Record:
    try:
        written = json.loads((directory / RECORD).read_text())
        unified = None if written["unified"] is None else Path(written["unified"])
        group = Group(tuple(map(Path, written["groups"])), unified)
        uids = None if written.get("uids") is None else Uids(*map(int, written["uids"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return _Record()
    return _Record(group, uids)
