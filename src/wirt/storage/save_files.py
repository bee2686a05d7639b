"""Saved guests in files of this host: packed by a thread while QEMU writes, unpacked by one while QEMU reads."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import stat
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from wirt.model.errors import (
    BadInput,
    CorruptState,
    HypervisorError,
    HypervisorSilent,
    NameInUse,
    NotFound,
    Unavailable,
    WirtError,
)
from wirt.ports.hypervisor import MemoryStream
from wirt.ports.save_files import Fill, SaveFacts
from wirt.ports.storage import Progress
from wirt.ports.threads import in_thread
from wirt.storage import backup_files as files
from wirt.storage.save_streams import Reader, Writer, failed, open_saved

END_S = 120.0
"""How long the last of a guest's memory may take into its file."""
PIPE_BYTES = 1024 * 1024


class HostSaveFiles:
    """On whatever file system the path leads to. Nothing is kept in memory but a chunk at a time."""

    async def check_new(self, path: str, *, replace: bool) -> None:
        await in_thread(None, _check_new, Path(path), replace)

    async def write(self, part: str, header: bytes, fill: Fill) -> SaveFacts:
        writer = await in_thread(None, Writer, Path(part), header)
        try:
            reading, writing = _pipe()
            with writing:
                tail = await _filled(writer, reading, writing, fill)
            return await in_thread(None, writer.end, tail)
        except BaseException:
            await in_thread(None, writer.remove)
            raise
        finally:
            writer.close()

    async def publish(self, part: str, path: str, *, replace: bool) -> None:
        await in_thread(None, _publish, Path(part), Path(path), replace)

    async def discard(self, path: str) -> None:
        await in_thread(None, _discard, Path(path))

    async def facts(self, path: str) -> SaveFacts:
        return await in_thread(None, _facts, Path(path))

    @asynccontextmanager
    async def memory(self, path: str, progress: Progress) -> AsyncIterator[MemoryStream]:
        reader = await in_thread(None, Reader, Path(path))
        stop, (reading, writing) = threading.Event(), _pipe()
        tell = _from_threads(progress)
        feeding = asyncio.create_task(in_thread(stop, reader.feed, writing, stop, tell))
        try:
            try:
                yield MemoryStream(reading, reader.facts.plain_bytes)
            except HypervisorError as error:
                # What is wrong with the file is why the hypervisor could do nothing with it.
                reading.close()
                failure = await _outcome(feeding, stop)
                if isinstance(failure, CorruptState | Unavailable):
                    raise failure from error
                raise
            reading.close()
            await feeding
        finally:
            reading.close()
            await _outcome(feeding, stop)


async def _filled(writer: Writer, reading: io.FileIO, writing: io.FileIO, fill: Fill) -> bytes:
    stop = threading.Event()
    packing = asyncio.create_task(in_thread(stop, writer.pack, reading, stop))
    try:
        tail = await fill(writing.fileno())
        writing.close()
        await asyncio.wait_for(packing, END_S)
    except TimeoutError as error:
        raise HypervisorSilent("the last of the guest's memory does not come") from error
    except HypervisorError as error:
        writing.close()
        failure = await _outcome(packing, stop)
        if isinstance(failure, WirtError):
            raise failure from error
        raise
    finally:
        writing.close()
        await _outcome(packing, stop)
    return tail


async def _outcome(work: asyncio.Task[None], stop: threading.Event) -> BaseException | None:
    """What a thread that is to end failed with."""
    stop.set()
    await asyncio.wait({work}, timeout=END_S)
    return work.exception() if work.done() and not work.cancelled() else None


def _pipe() -> tuple[io.FileIO, io.FileIO]:
    """Its reading and its writing end. One that holds more spares both sides turns."""
    reading, writing = os.pipe()
    with contextlib.suppress(OSError, AttributeError):
        import fcntl

        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return io.FileIO(reading, "rb"), io.FileIO(writing, "wb")


def _from_threads(progress: Progress) -> Progress:
    loop = asyncio.get_running_loop()

    def tell(share: float) -> None:
        with contextlib.suppress(RuntimeError):  # the daemon has ended meanwhile
            loop.call_soon_threadsafe(progress, share)

    return tell


def _check_new(path: Path, replace: bool) -> None:
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        _check_directory(path)
        return
    except OSError as error:
        raise failed(path, error) from error
    if not stat.S_ISREG(facts.st_mode):
        raise BadInput(f"{path} is there, and no plain file", hint="name a file that is to be made")
    if not replace:
        raise NameInUse(f"there is a file {path} already", hint="name another, or --force takes its place")
    _check_directory(path)


def _check_directory(path: Path) -> None:
    if not path.parent.is_dir():
        raise NotFound(f"{path.parent} is no directory", hint="make it, or name another place")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise Unavailable(f"nothing can be written in {path.parent}")


def _publish(part: Path, path: Path, replace: bool) -> None:
    """Without ``replace`` by a link, which never takes the place of another file."""
    try:
        if replace:
            with contextlib.suppress(FileNotFoundError):
                part.replace(path)
        elif part.exists():
            _link(part, path)
        path.stat()
    except FileExistsError as error:
        raise NameInUse(f"there is a file {path} by now", hint="name another") from error
    except OSError as error:
        raise failed(path, error) from error
    files.settle(path.parent)


def _link(part: Path, path: Path) -> None:
    try:
        os.link(part, path)
    except FileExistsError:
        if not part.samefile(path):  # the link was made by a daemon that died then
            raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError from None
        part.rename(path)
        return
    part.unlink()


def _discard(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise failed(path, error) from error
    files.settle(path.parent)


def _facts(path: Path) -> SaveFacts:
    with open_saved(path) as file:
        return Reader.look(file, str(path))[1]
