"""Pools on NFS servers (nfs(5)): mounted under the home's state, and then files in a directory.

What a server that has gone keeps is one thread of the pool's, see :mod:`.waiting`. The mount is hard: a guest
waits for its server, and sees no errors that the disk does not have.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from wirt.model.errors import BadInput, Unavailable, WirtError
from wirt.model.storage import Capability, PoolConfig
from wirt.storage.directory import DirectoryPool
from wirt.storage.programs import run
from wirt.storage.waiting import Patient

PORT = 2049
REACH_S = 5.0
MOUNT_S = 25.0
OPTIONS = "nfsvers=4.1"
"""Not 4.2: what that adds (fallocate, copies, holes) Linux asks for in the name of whoever calls, not of who
opened the file. That is the jail's user, whom the server refuses it, and QEMU's copies and guests' discards would
fail with "Permission denied"."""


class NfsPool(DirectoryPool):
    """Volumes can't be given all of their room beforehand: that would be written, zero by zero."""

    capabilities = DirectoryPool.capabilities - {Capability.PREALLOCATE} | {Capability.SHARED}

    async def close(self) -> None:
        """While a guest has a file open it stays mounted, and umount(8) says so."""
        if is_mounted(self._directory):
            await run(
                "umount", str(self._directory), what=f"{self._directory} can't be unmounted", deadline_s=MOUNT_S
            )


def missing() -> str | None:
    """Why this host has no pools on NFS servers."""
    if not _kernel_has():
        also = "QEMU's own is not used yet" if qemu_has() else "QEMU's own (block-nfs) is not installed"
        return f"its kernel has no NFS client, and {also}"
    if os.geteuid() != 0:
        return "mounting needs root"
    if shutil.which("mount.nfs") is None:
        return "mount.nfs is not installed (Debian: apt-get install nfs-common)"
    return None


def _kernel_has() -> bool:
    known = Path("/proc/filesystems").read_text().split()
    modules = Path("/lib/modules", os.uname().release, "kernel/fs/nfs")
    return "nfs4" in known or (modules.is_dir() and any(modules.glob("nfsv4.ko*")))


@cache
def qemu_has() -> bool:
    """Whether QEMU opens ``nfs://`` by itself (libnfs)."""
    words = ["qemu-img", "info", 'json:{"driver":"nfs"}']
    try:
        said = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return "Unknown driver" not in said.stderr


def patient_for(config: PoolConfig) -> Patient:
    """Who waits for the server: one for all that ever open the pool."""
    return Patient(f"{config.source} (pool {config.name})")


async def open_nfs(config: PoolConfig, mounts: Path, patient: Patient | None = None) -> NfsPool:
    """``patient`` as :func:`patient_for` gave it before. ``BadInput``, or ``Unavailable``: the server is away."""
    source = config.source or ""
    server, colon, export = source.rpartition(":")
    if not colon or not server or not export.startswith("/"):
        raise BadInput(f"{source!r} is no export of a server", hint="--source SERVER:/EXPORT")
    directory = mounts / config.name
    if not is_mounted(directory):
        await _reach(server, config)
        await _mount(config, directory)
    pool = NfsPool(config, directory, patient or patient_for(config))
    await pool.usage()
    return pool


async def _reach(server: str, config: PoolConfig) -> None:
    """A server that is not there is found out now: mount(8) would try for minutes."""
    port = next((int(word[5:]) for word in config.options.split(",") if word.startswith("port=")), PORT)
    try:
        async with asyncio.timeout(REACH_S):
            _, writer = await asyncio.open_connection(server.strip("[]"), port)
        writer.close()
    except (OSError, TimeoutError) as error:
        reason = getattr(error, "strerror", None) or f"nothing came back for {REACH_S:g} s"
        raise Unavailable(
            f"the NFS server {server} can't be reached at port {port}: {reason}",
            hint=f"is it there, and does it export {config.source}?",
        ) from error


async def _mount(config: PoolConfig, directory: Path) -> None:
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    options = ",".join(filter(None, (OPTIONS, "nosuid", "nodev", "noexec", config.options)))
    words = ("mount", "-t", "nfs", "-o", options, str(config.source), str(directory))
    try:
        await run(*words, what=f"{config.source} can't be mounted", deadline_s=MOUNT_S)
    except WirtError:
        if not is_mounted(directory):
            directory.rmdir()
        raise


def is_mounted(directory: Path) -> bool:
    """From the kernel's table: asking the file system itself may take for ever (proc_pid_mountinfo(5))."""
    place = str(directory).replace(" ", "\\040")
    rows = (line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return any(row[4] == place for row in rows)
