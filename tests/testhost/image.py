"""Builds the test host once and keeps it: disk, kernel, and a snapshot of it as it stands after its boot."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import files, kernel, qemu, recipe
from .channel import Channel
from .commands import Failed, require_tools, run

BOOT_S = 600.0
COMPLETE = "complete"
"""Written last into a folder that then gets its name: what has the name is whole."""

WARM = "import asyncio, _pytest.assertion, fastapi, hypothesis, pydantic, pyroute2, qemu.qmp, uvicorn"
"""Read once before the snapshot, they come out of its memory from then on."""


@dataclass(frozen=True, slots=True)
class Image:
    """``directory`` has vmlinuz, initramfs, root.raw as it is before a boot, and booted.qcow2 and state of the
    moment after one."""

    directory: Path

    @property
    def root(self) -> Path:
        return self.directory / "root.raw"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def booted(self) -> Path:
        return self.directory / "booted.qcow2"


@contextmanager
def held(cache: Path, say: Callable[[str], None]) -> Iterator[Image]:
    """The test host's image, built if it is missing, and not removed while it is held. ``Failed`` if it can't be
    had."""
    require_tools()
    cache.mkdir(parents=True, exist_ok=True)
    key = recipe.key(qemu.version())
    directory = cache / key
    with _locked(cache / "lock", say):
        if not (directory / COMPLETE).exists():
            _remove_others(cache, key)
            _build(cache, directory, say)
        holding = _lock_file(cache / f"{key}.used")
        fcntl.flock(holding, fcntl.LOCK_SH)
    try:
        yield Image(directory)
    finally:
        os.close(holding)


def _lock_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextmanager
def _locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """One builder at a time. The lock goes with the process that has it (flock(2))."""
    descriptor = _lock_file(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("somebody else is building the test host; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_others(cache: Path, key: str) -> None:
    """Images of older recipes that nobody uses, and what a killed build left. Called with the lock."""
    for path in cache.iterdir():
        if path.name.startswith(".building-") or (path.is_dir() and path.name == key):
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_dir():
            used = cache / f"{path.name}.used"
            descriptor = _lock_file(used)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
                used.unlink(missing_ok=True)
            os.close(descriptor)


def _build(cache: Path, directory: Path, say: Callable[[str], None]) -> None:
    begin = time.monotonic()

    def tell(what: str) -> None:
        say(f"{what} ({time.monotonic() - begin:.0f} s)")

    tell("building the test host, once: two minutes")
    scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=cache))
    try:
        result = scratch / "result"
        result.mkdir()
        with _ended_in_order():
            _write_disk(result, scratch, cache.parent / "packages", tell)
            _boot_once(result, scratch, tell)
        (result / COMPLETE).write_text("")
        os.sync()
        result.rename(directory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    tell("the test host is built")


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM ends a build as Ctrl-C does, with everything that it started."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _write_disk(result: Path, scratch: Path, packages: Path, tell: Callable[[str], None]) -> None:
    root = scratch / "root"
    chosen = files.lay_out(root, scratch, packages, tell)
    (result / "vmlinuz").write_bytes(chosen.image)
    (result / "initramfs").write_bytes(kernel.initramfs(chosen, (root / "bin/busybox").read_bytes()))
    tell("writing the file system")
    run(
        *("mke2fs", "-q", "-t", "ext4", "-L", "testhost", "-O", "^has_journal", "-E", "lazy_itable_init=1"),
        *("-d", root, result / "root.raw", f"{recipe.DISK_MIB}M"),
        timeout_s=120,
    )
    shutil.rmtree(root)


def _boot_once(result: Path, scratch: Path, tell: Callable[[str], None]) -> None:
    tell("booting it")
    boot = scratch / "boot"
    boot.mkdir()
    qemu.make_disks(boot, result / "root.raw", "raw")
    machine = qemu.Qemu(result, boot)
    channel = Channel(machine.agent)
    try:
        tell("waiting until all of it is up")
        await_boot(channel)
        tell("warming it up")
        warm = channel.run(["/opt/wirt/bin/python", "-c", WARM], timeout_s=BOOT_S)
        if warm.code != 0:
            raise Failed(f"the test host's Python lacks something:\n{warm.said}")
        channel.run(["sync"], timeout_s=60)
        tell("taking the snapshot")
        machine.save(result / "state")
        machine.quit()
    except Failed as error:
        raise Failed(f"{error}\n{machine.last_words()}") from None
    finally:
        machine.kill()
        channel.close()
    booted = boot / "root"
    run("qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-b", "root.raw", "-F", "raw", booted, timeout_s=20)
    booted.rename(result / "booted.qcow2")


def await_boot(channel: Channel) -> None:
    """All that starts by itself is up, and the clock is ours; ``Failed`` if something of it did not start."""
    channel.set_clock(BOOT_S)
    up = channel.run(["sh", "-c", "systemctl is-system-running --wait"], timeout_s=BOOT_S)
    if up.text.strip() != "running":
        failed = channel.run(["sh", "-c", "systemctl --no-pager --failed"], timeout_s=60)
        raise Failed(f"the test host is {up.text.strip()} after its boot:\n{failed.text}")
