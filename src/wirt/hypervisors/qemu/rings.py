"""Which engines QEMU can serve disks with on this host, in the jail that its guests get: found out by trying,
once per boot. A kernel may be built without io_uring or forbid it (kernel.io_uring_disabled), and QEMU without
either."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import replace
from pathlib import Path

from wirt.hypervisors.qemu.cmdline import SANDBOX
from wirt.hypervisors.qemu.probe import boot_key
from wirt.model.engine import Aio
from wirt.plan.host import HypervisorFacts
from wirt.ports.sandbox import Sandbox

FORBIDDEN = Path("/proc/sys/kernel/io_uring_disabled")
TRIAL_BYTES = 1 << 20
TRIED = (Aio.IO_URING, Aio.NATIVE)
_NOT_BUILT = "not supported in this build"
_READ = {"command-line": 'qemu-io trial "read 0 4096"'}
_TALK = (
    {"execute": "qmp_capabilities"},
    {"execute": "human-monitor-command", "arguments": _READ},
    {"execute": "quit"},
)
"""It reads once: the ring is made by the first request, and a QEMU that has none then says so and goes on."""


async def with_engines(facts: HypervisorFacts, binary: str, sandbox: Sandbox, cache: Path) -> HypervisorFacts:
    """``facts``, and which engines are missing."""
    found = await missing(binary, sandbox, cache)
    notes = (f"disks can't be served with {name}: {why}" for name, why in found)
    return replace(facts, missing_engines=found, notes=(*facts.notes, *notes))


async def missing(binary: str, sandbox: Sandbox, cache: Path) -> tuple[tuple[Aio, str], ...]:
    """Those that can't be had, and why. ``cache`` keeps the answer until the host boots again, or something
    changes."""
    forbidden = ""
    with contextlib.suppress(OSError):
        forbidden = FORBIDDEN.read_text().strip()
    key = f"{boot_key(binary)} {type(sandbox).__name__} {forbidden}"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        kept = json.loads(cache.read_text())
        if kept["key"] == key:
            return tuple((Aio(name), str(why)) for name, why in kept["missing"].items())
    found = {each: why for each in TRIED if (why := await why_not(each, binary, sandbox)) is not None}
    # Without it the next start asks again: that is no reason to fail.
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({"key": key, "missing": found}))
    return tuple(found.items())


async def why_not(aio: Aio, binary: str, sandbox: Sandbox) -> str | None:
    """By a QEMU without a machine that has a file in memory as its disk, reads of it, and ends."""
    descriptor = os.memfd_create("wirt-trial", os.MFD_CLOEXEC)
    try:
        os.truncate(descriptor, TRIAL_BYTES)
        words, given = _words(aio, descriptor), "".join(json.dumps(each) + "\n" for each in _TALK).encode()
        ended = await sandbox.trial(binary, words, given, (descriptor,), io_uring=aio is Aio.IO_URING)
    finally:
        os.close(descriptor)
    if ended.well and not ended.words:
        return None
    # Linux before 6.6 has no direct access to memory; of native only the build is in question.
    if aio is Aio.NATIVE and _NOT_BUILT not in ended.words:
        return None
    return ended.words or "QEMU ended without a word"


def _words(aio: Aio, descriptor: int) -> tuple[str, ...]:
    file = {"driver": "file", "filename": "/dev/fdset/1", "aio": str(aio), "node-name": "trial"}
    node = {**file, "cache": {"direct": aio is Aio.NATIVE, "no-flush": False}}
    return (
        *("-nodefaults", "-no-user-config", "-display", "none", "-machine", "none", "-sandbox", SANDBOX),
        *("-add-fd", f"fd={descriptor},set=1", "-blockdev", json.dumps(node), "-qmp", "stdio"),
    )
