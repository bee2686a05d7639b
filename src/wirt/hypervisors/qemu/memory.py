"""A stopped guest's memory and devices, written to a file and read from one: a migration whose other side is not
there yet (QEMU, docs/devel/migration).

The file is a descriptor to QEMU: ``file:`` where that takes one from a set, ``fd:`` before, and for a pipe.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from wirt.hypervisors.qemu import answers
from wirt.hypervisors.qemu.blockjobs import FULL_WORDS, to_the_end
from wirt.hypervisors.qemu.monitor import Monitor
from wirt.hypervisors.qemu.run import Run
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.errors import HypervisorError, HypervisorSilent, IllegalState, LaunchFailed, Shortage
from wirt.model.lifecycle import State
from wirt.model.text import plain
from wirt.plan.jail import Access
from wirt.plan.observed import PlannedFile, file_identity
from wirt.ports.hypervisor import MemoryStream
from wirt.ports.sandbox import Sandbox
from wirt.ports.storage import Progress

WHAT = "memory"
SETS_SINCE = (9, 1)
"""The QEMU whose ``file:`` takes a descriptor out of a set, and whose ``fd:`` warns of files."""
UNBOUNDED = 1 << 40
"""Bytes a second: QEMU holds itself back by itself, for a network's sake."""
LOOK_S = 0.05
END_S = 30.0
LEAST_LOAD_S = 60.0
SLOWEST_BYTES_PER_S = 10 << 20
_ENDED = ("completed", "failed", "cancelled")


async def save(run: Run, sandbox: Sandbox, path: Path, progress: Progress) -> None:
    """A call that fails or is cancelled leaves no file. The guest stays stopped, and can go on; until it does its
    QEMU has its disks open, but no hold on them."""
    _check_still(run)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HypervisorError(f"{run.name}: {path} can't be written: {error.strerror}") from error
    try:
        _note(run, sandbox, descriptor, path)
        await _send(run, descriptor, progress)
        await asyncio.to_thread(os.fsync, descriptor)
        progress(1.0)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
        sandbox.note(run.files.directory, run.process.identity.pid)


async def stream(run: Run, descriptor: int, progress: Progress) -> None:
    """As :func:`save`, into a pipe. QEMU closes its end a moment after this has returned."""
    _check_still(run)
    await _send(run, descriptor, progress)
    progress(1.0)


def _check_still(run: Run) -> None:
    if run.observed.state is State.RUNNING:
        raise IllegalState(f"{run.name} runs, and its memory would be no state that it ever had")


async def _send(run: Run, descriptor: int, progress: Progress) -> None:
    await run.monitor.execute("migrate-set-parameters", {"max-bandwidth": UNBOUNDED})
    async with _handed(run.monitor, descriptor) as uri:
        try:
            await run.monitor.execute("migrate", {"uri": uri})
            await _until_ended(run, progress)
        finally:
            await to_the_end(cancel(run))


async def load(run: Run, source: Path | MemoryStream) -> None:
    """Into a QEMU that waits for it; the guest is paused then, where it was when it was saved."""
    file, size = _opened(run.name, source)
    deadline_s = LEAST_LOAD_S + size / SLOWEST_BYTES_PER_S
    try:
        async with _handed(run.monitor, file.fileno()) as uri:
            file.close()  # so that whoever writes into a pipe learns of QEMU's end
            await run.monitor.execute("migrate-incoming", {"uri": uri})
            await asyncio.wait_for(_until_ended(run, lambda share: None), deadline_s)
    except IllegalState as error:  # a QEMU that can't make sense of it ends
        raise HypervisorError(error.message) from error
    except TimeoutError as error:
        raise HypervisorSilent(f"{run.name}: its memory was not read within {deadline_s:g} s") from error
    finally:
        file.close()


def _opened(name: str, source: Path | MemoryStream) -> tuple[io.FileIO, int]:
    """With what is in it, in bytes."""
    if isinstance(source, MemoryStream):
        return source.file, source.size
    try:
        file = io.FileIO(source)
    except OSError as error:
        raise LaunchFailed(f"{name}: {source} can't be opened: {error.strerror}") from error
    return file, os.fstat(file.fileno()).st_size


async def cancel(run: Run) -> None:
    """A save that is under way. ``HypervisorSilent`` if it does not end."""
    for _ in range(int(END_S / LOOK_S)):
        if (await _look(run))[0] in ("none", *_ENDED):
            return
        await run.monitor.execute("migrate_cancel")
        await asyncio.sleep(LOOK_S)
    raise HypervisorSilent(f"{run.name}: QEMU does not stop writing the guest's memory")


async def _until_ended(run: Run, progress: Progress) -> None:
    while True:
        status, share, error = await _look(run)
        if status == "completed":
            return
        if status in _ENDED:
            if any(word in error for word in FULL_WORDS):
                raise Shortage(f"{run.name}: there is no room for its memory: {plain(error)}")
            raise HypervisorError(f"{run.name}: its memory: {status}: {plain(error) or 'without a word'}")
        progress(share)
        await asyncio.sleep(LOOK_S)


async def _look(run: Run) -> tuple[str, float, str]:
    try:
        return answers.migration(await run.monitor.execute("query-migrate"))
    except Malformed as error:
        raise HypervisorError(f"{run.name}: QEMU tells of its memory with {error}") from error


@asynccontextmanager
async def _handed(monitor: Monitor, descriptor: int) -> AsyncIterator[str]:
    """The file as a migration names it."""
    try:
        version = answers.version(await monitor.execute("query-version"))
    except Malformed as error:
        raise HypervisorError(f"QEMU tells of itself with {error}") from error
    if version < SETS_SINCE or stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        await monitor.hand_over(WHAT, descriptor)
        yield f"fd:{WHAT}"
        return
    number = await monitor.add_file(descriptor, WHAT)
    try:
        yield f"file:/dev/fdset/{number}"
    finally:
        with contextlib.suppress(HypervisorError):
            await to_the_end(monitor.execute("remove-fd", {"fdset-id": number}))


def _note(run: Run, sandbox: Sandbox, descriptor: int, path: Path) -> None:
    about = os.fstat(descriptor)
    identity = file_identity(about.st_mode, about.st_dev, about.st_ino, about.st_rdev)
    file = PlannedFile(os.path.realpath(path), Access.WRITE, True, identity)
    sandbox.note(run.files.directory, run.process.identity.pid, (file,))
