"""The bootstrap port: an installer in a jail, and what comes out of it made into a disk."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import stat
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from wirt.images._process import run
from wirt.images.bootstrap import device, grub, jail, worker
from wirt.model.errors import BadInput, ImageBuildFailed, NameInUse, Shortage, Unavailable, WirtError
from wirt.model.text import plain
from wirt.plan.bootstrap import BootstrapPlan, Distribution
from wirt.plan.bootstrap_tools import Source, without_login
from wirt.ports.bootstrap import Blank, Progress, System

SILENT_S = 300.0
"""Without a word for so long, an installer stands still."""
WHOLE_S = 3600.0
_ASK_S = 20.0
_END_S = 10.0
_TRIES, _PAUSE_S = 50, 0.1
_BUILT = 0.95
_LINE_BYTES = 1024 * 1024
_LAST_WORDS = 600
_ERRORS: dict[str, type[WirtError]] = {each.code: each for each in (BadInput, Shortage, Unavailable)}
_PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "dnf": "dnf",
    "zypper": "zypper",
    "mke2fs": "e2fsprogs",
    "bwrap": "bubblewrap",
    "newuidmap": "uidmap",
    "newgidmap": "uidmap",
    "grub-mkimage": "grub-common",
}
_SOURCES = "$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)"


class SystemBuilder:
    """``cache`` keeps GRUB's packages where GRUB is not installed. Below ``own``, directories are wirt's own."""

    def __init__(self, cache: Path, own: Path) -> None:
        self._cache = cache
        self._own = own

    async def sources(self) -> tuple[Source, ...]:
        """As apt-get(8), "indextargets", tells them, in apt's order."""
        if shutil.which("apt-get") is None:
            return ()
        command = ["apt-get", "indextargets", "--format", _SOURCES, "Created-By: Packages"]
        try:
            out = await run(command, cwd=Path("/"), timeout_s=_ASK_S)
        except ImageBuildFailed:
            return ()
        components: dict[tuple[str, str], list[str]] = {}
        for uri, release, component in (row.split("\t") for row in out.splitlines() if row.count("\t") == 2):
            found = components.setdefault((uri.rstrip("/"), release), [])
            if component not in found:
                found.append(component)
        return tuple(Source(uri, release, tuple(found)) for (uri, release), found in components.items())

    def check(self, plan: BootstrapPlan) -> None:
        needed = [plan.program, "mke2fs", *(["grub-mkimage"] if plan.partitioned else [])]
        missing = [*(each for each in needed if shutil.which(each) is None), *jail.missing()]
        if missing:
            packages = sorted({_PACKAGES[each] for each in missing})
            raise Unavailable(
                f"{plan.wish.distribution} can't be installed from here: there is no {', '.join(missing)}",
                hint="apt-get install " + " ".join(packages),
            )
        if plan.wish.key and not os.access(plan.wish.key, os.R_OK):
            raise BadInput(f"{plan.wish.key}, the key, can't be read")

    async def build(self, plan: BootstrapPlan, scratch: Path, progress: Progress) -> System:
        await asyncio.to_thread(_prepare, plan, scratch)
        inside = scratch / "work"
        if plan.wish.distribution == Distribution.DEBIAN:
            options = await run(["apt-config", "dump", "Acquire"], cwd=Path("/"), timeout_s=_ASK_S)
            await asyncio.to_thread(_give, inside / "apt.conf", options)
        await _in_jail(inside, lambda what, share: progress(what, share * _BUILT))
        system = System(*(inside / name for name in (worker.DISK, worker.KERNEL, worker.INITRD)))
        for path in (system.disk, system.kernel, system.initrd):
            _check_made(path)
        # What made them has ended; from here on nobody else writes them.
        await _remove(inside / "root", inside)
        if plan.partitioned:
            progress("putting GRUB on it", _BUILT)
            made = await grub.make(plan, scratch, self._cache)
            await asyncio.to_thread(grub.install, plan, made, system.disk)
        return system

    async def discard(self, scratch: Path) -> None:
        if not scratch.exists():
            return
        # Those who were ended a moment ago may still be writing their last.
        for _ in range(_TRIES):
            await _remove(scratch / "work/root", scratch / "work")
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
            if not scratch.exists():
                return
            await asyncio.sleep(_PAUSE_S)
        raise Unavailable(f"{scratch} can't be removed", hint=f"rm -rf {scratch}")

    async def look(self, path: str) -> Blank:
        return await asyncio.to_thread(device.look, path)

    async def wipe(self, path: str) -> None:
        await asyncio.to_thread(device.wipe, path)

    async def exists(self, path: Path) -> bool:
        return await asyncio.to_thread(os.path.lexists, path)

    async def remove(self, path: Path) -> None:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        if path.is_relative_to(self._own):
            with contextlib.suppress(OSError):
                await asyncio.to_thread(path.parent.rmdir)

    async def put(self, content: Path | str, target: Path) -> None:
        await asyncio.to_thread(_put, content, target)


def _prepare(plan: BootstrapPlan, scratch: Path) -> None:
    """What the jail's root is to read and write; the directory around it is private to this daemon."""
    inside = scratch / "work"
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.rmtree(inside, ignore_errors=True)
    inside.mkdir()
    where = without_login(plan.wish.mirror) or "the mirror"
    _give(inside / worker.ORDER, json.dumps(asdict(worker.order(plan, where))))
    for name, text in plan.helpers:
        _give(inside / name, text)
    if plan.wish.key:
        _give(inside / "key", Path(plan.wish.key).read_text(errors="surrogateescape"))
    os.chown(inside, jail.owner(), -1)


def _give(path: Path, text: str) -> None:
    """Private: a source may hold a password."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", errors="surrogateescape") as file:  # noqa: PTH123
        os.fchown(descriptor, jail.owner(), -1)
        file.write(text)


def _check_made(path: Path) -> None:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise Unavailable(f"the installer left something else than a file as {path.name}")
    if os.geteuid() == 0:
        os.chown(path, 0, 0, follow_symlinks=False)
    path.chmod(0o600)


async def _in_jail(inside: Path, progress: Progress) -> None:
    words = (sys.executable, "-m", "wirt.images.bootstrap.worker")
    async with _jailed(inside, words) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        last: deque[bytes] = deque(maxlen=20)
        listening = asyncio.create_task(_keep(process.stderr, last))
        try:
            async with asyncio.timeout(WHOLE_S):
                failure = await _listen(process.stdout, progress)
                await listening
                code = await process.wait()
        except TimeoutError:
            raise Unavailable(
                f"the installer took longer than {WHOLE_S / 60:g} minutes",
                hint="is the mirror a slow one? --mirror",
            ) from None
        finally:
            listening.cancel()
    if failure is not None:
        raise failure
    if code != 0:
        said = plain(b"".join(last).decode(errors="replace").strip(), _LAST_WORDS)
        raise Unavailable(f"no system could be laid down: {said or 'the jail ended without a word'}")


async def _listen(lines: asyncio.StreamReader, progress: Progress) -> WirtError | None:
    """Until the worker has ended; what it failed for. Its words are not believed: they come out of the jail."""
    share, failure, done = 0.0, None, False
    while True:
        try:
            async with asyncio.timeout(SILENT_S):
                line = await lines.readline()
        except TimeoutError:
            raise Unavailable(f"the installer has said nothing for {SILENT_S:g} s, and was ended") from None
        except ValueError:
            raise Unavailable("the installer said something endless, and was ended") from None
        if not line:
            return failure if failure or done else Unavailable("the installer ended without a word")
        said = _said(line)
        told = said.get("share")
        if isinstance(told, float):
            share = max(share, min(1.0, told))
            progress(plain(said.get("what", ""), 80), share)
        elif "error" in said:
            hint = said.get("hint")
            kind = _ERRORS.get(str(said.get("code")), Unavailable)
            failure = kind(plain(said["error"]), hint=plain(hint) if hint else None)
        done = done or said.get("done") is True


def _said(line: bytes) -> dict[str, object]:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


async def _keep(lines: asyncio.StreamReader, last: deque[bytes]) -> None:
    while part := await lines.read(4096):
        last.append(part)


@asynccontextmanager
async def _jailed(inside: Path, words: tuple[str, ...]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "wirt.images.bootstrap.jail", str(inside), *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=_LINE_BYTES,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            # All inside ends with it: they are in a process namespace whose first one dies with its parent.
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    await process.wait()


async def _remove(path: Path, inside: Path) -> None:
    """A tree whose files belong to the jail's uids: who is not root has to go in for it."""
    if os.geteuid() == 0 or not path.exists():
        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        return
    async with _jailed(inside, ("rm", "-rf", f"/mnt/{path.name}")) as process:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60.0):
                await process.communicate()


def _put(content: Path | str, target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fill(part, content)
        os.link(part, target)
    except FileExistsError:
        raise NameInUse(f"there is a file {target} already", hint="choose another --name") from None
    except OSError as error:
        raise Unavailable(f"{target} can't be written: {(error.strerror or '').lower()}") from error
    finally:
        part.unlink(missing_ok=True)


def _fill(part: Path, content: Path | str) -> None:
    part.unlink(missing_ok=True)
    write: Callable[[], object]
    if isinstance(content, Path):
        write = lambda: shutil.copyfile(content, part)  # noqa: E731
    else:
        write = lambda: part.write_text(content)  # noqa: E731
    write()
    with part.open("rb") as file:
        os.fsync(file.fileno())
