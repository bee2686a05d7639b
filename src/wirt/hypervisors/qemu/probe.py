"""What this host's QEMU can do, found out by trying, once per boot of the host.

``/dev/kvm`` being there proves nothing: some hosts emulate it instruction by instruction. So a firmware of our own
(``probe.S``: long mode, paging, 80 million instructions) runs under KVM against a deadline, which stands still
while other work has all CPUs. With real virtualisation it takes under 0.2 s, under nested emulation about a
second; emulated it takes minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from wirt.model.domain import GuestType
from wirt.model.errors import HypervisorSilent, Unavailable
from wirt.plan.host import Accelerator, HypervisorFacts
from wirt.plan.launch import KEPT_EVERY_PAGE_SINCE
from wirt.ports.process import started

PROBE_S = 6.0
BUSY_TIMES = 10
LOOK_S = 0.1
PROBE_PASSED = 0x2A << 1 | 1
"""isa-debug-exit turns the value that the firmware writes into this exit status."""

ROM_BYTES = 64 * 1024
RESET_VECTOR = 0xFFF0
PROBE_CODE = bytes.fromhex(
    "fa2e660f0116d80066b8110000000f22c066ea1900ffff0800b8100000008ed88ec08ed031c0bf00100000b900140000f3abc705"
    "0010000003200000c7050020000003300000c7051820000003400000c7050030000083000000c705f84f00008300e0ffb8200000"
    "000f22e0b8001000000f22d8b9800000c00f320d000100000f30b8110000800f22c0ea9100ffff1800b9002d310131c04801c848"
    "89042500600000ffc975f1b82a000000e6f4f4ebfd8db400008d74000000000000000000ffff0000009bcf00ffff00000093cf00"
    "ffff0000009baf001f00b800ffff"
)
PROBE_RESET = bytes.fromhex("e90d00")

_FIRMWARE = {
    "ovmf": ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd"),
    "ovmf-variables": ("/usr/share/OVMF/OVMF_VARS_4M.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
}


@dataclass(frozen=True, slots=True)
class _Answer:
    """A probe's result, as it is kept until the host boots again or QEMU changes."""

    key: str
    version: str
    accelerator: str
    reason: str


def probe_rom() -> bytes:
    """The firmware: code at its start, a jump there at the reset vector (Intel SDM 3A, 9.1.4)."""
    rom = bytearray(ROM_BYTES)
    rom[: len(PROBE_CODE)] = PROBE_CODE
    rom[RESET_VECTOR : RESET_VECTOR + len(PROBE_RESET)] = PROBE_RESET
    return bytes(rom)


async def find_facts(binary: str, cache: Path) -> HypervisorFacts:
    """``Unavailable`` if ``binary`` is no QEMU that wirt can use."""
    key = boot_key(binary)
    answer = _cached(cache, key)
    if answer is None:
        version = await _version(binary)
        accelerator, reason = await find_accelerator(binary)
        answer = _Answer(key, ".".join(str(part) for part in version), accelerator, reason)
        # Without it the next start asks again: that is no reason to fail.
        with contextlib.suppress(OSError):
            cache.parent.mkdir(parents=True, exist_ok=True)
            cache.write_text(json.dumps(asdict(answer)))
    version = _parse_version(answer.version)
    firmware = [(name, next((p for p in paths if Path(p).exists()), None)) for name, paths in _FIRMWARE.items()]
    return HypervisorFacts(
        name="qemu",
        version=version,
        accelerator=Accelerator(answer.accelerator),
        accelerator_reason=answer.reason,
        guest_types=frozenset(GuestType),
        notes=_notes(version, Accelerator(answer.accelerator)),
        firmware_files=tuple((name, path) for name, path in firmware if path is not None),
    )


async def find_accelerator(
    binary: str, device: Path = Path("/dev/kvm"), deadline_s: float = PROBE_S
) -> tuple[Accelerator, str]:
    """KVM if it works, else TCG, with the reason in a sentence."""
    if not device.exists():
        return Accelerator.TCG, f"there is no {device}: software emulation"
    if not os.access(device, os.R_OK | os.W_OK):
        return Accelerator.TCG, f"this user may not open {device} (group kvm may): software emulation"
    with tempfile.TemporaryDirectory() as directory:
        rom = Path(directory, "probe.rom")
        rom.write_bytes(probe_rom())
        command = (
            binary,
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-machine",
            "q35",
            "-accel",
            "kvm",
        )
        devices = ("-cpu", "host", "-m", "16", "-bios", str(rom), "-device", "isa-debug-exit,iobase=0xf4,iosize=1")
        start = time.monotonic()
        try:
            status, output = await _run((*command, *devices), deadline_s)
        except HypervisorSilent:
            return (
                Accelerator.TCG,
                f"KVM is there and did not run a test program within {deadline_s:g} s: software emulation",
            )
    if status == PROBE_PASSED:
        return Accelerator.KVM, f"KVM ran a test program in {time.monotonic() - start:.2f} s"
    words = " ".join(output.split())[-200:]
    return Accelerator.TCG, f"KVM is there and failed ({words or f'exit status {status}'}): software emulation"


async def _version(binary: str) -> tuple[int, int, int]:
    try:
        status, output = await _run((binary, "--version"), PROBE_S)
    except OSError as error:
        raise Unavailable(
            f"{binary} can't be run: {error.strerror}",
            hint="install it (make setup; Debian: apt-get install qemu-system-x86), or set WIRT_QEMU",
        ) from error
    found = re.search(r"version (\d+\.\d+\.\d+)", output)
    if status != 0 or found is None:
        raise Unavailable(f"{binary} is not a QEMU that answers: {' '.join(output.split())[:200]}")
    return _parse_version(found.group(1))


async def _run(command: tuple[str, ...], deadline_s: float) -> tuple[int, str]:
    """Of ``deadline_s`` counts only what the program does not wait for a CPU of this host, up to
    :data:`BUSY_TIMES` as long: how busy the host is says nothing about its KVM, and the answer is kept until the
    next boot."""
    begin = time.monotonic()
    async with started(command, together=True) as process:
        ending = asyncio.ensure_future(process.communicate())
        try:
            while not (await asyncio.wait((ending,), timeout=LOOK_S))[0]:
                taken_s = time.monotonic() - begin
                if taken_s - waited_for_cpu_s(process.pid) > deadline_s or taken_s > BUSY_TIMES * deadline_s:
                    raise HypervisorSilent(f"{command[0]} took longer than {deadline_s:g} s")
            out, _ = await ending
        finally:
            ending.cancel()
    return process.returncode or 0, out.decode(errors="replace")


def waited_for_cpu_s(pid: int) -> float:
    """How long the thread of ``pid`` that waited most was ready to run and had no CPU (Linux,
    Documentation/scheduler/sched-stats.rst); 0 where the kernel does not say."""
    waited_ns = [0]
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            waited_ns.append(int(path.read_text().split()[1]))
    return max(waited_ns) / 1e9


def _parse_version(text: str) -> tuple[int, int, int]:
    major, minor, micro = (int(part) for part in text.split("."))
    return major, minor, micro


def boot_key(binary: str) -> str:
    """Changes with the host's boot, the binary, and who may open /dev/kvm."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    kvm = os.access("/dev/kvm", os.R_OK | os.W_OK)
    try:
        stamp = Path(binary).stat().st_mtime_ns
    except OSError:
        stamp = 0
    return f"{boot} {binary} {stamp} {kvm} {len(PROBE_CODE)}"


def _cached(cache: Path, key: str) -> _Answer | None:
    try:
        answer = _Answer(**json.loads(cache.read_text()))
        _parse_version(answer.version)
        Accelerator(answer.accelerator)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return answer if answer.key == key else None


def _notes(version: tuple[int, int, int], accelerator: Accelerator) -> tuple[str, ...]:
    notes = ["pv and pvh guests are the same direct boot with virtio devices on QEMU; on Xen they are Xen's own"]
    if accelerator is Accelerator.TCG and version < KEPT_EVERY_PAGE_SINCE:
        notes.append(
            "moving emulated guests is safe by construction: this QEMU would lose pages of a memory that is a "
            "multiple of 256 KiB (mended in 9.0), and no guest's is that begins here; one that came from a newer "
            "QEMU is moved on while it is paused"
        )
    elif accelerator is Accelerator.TCG:
        notes.append(
            "moving emulated guests with hotplug_memory is safe by construction: this QEMU would lose pages of "
            "memory that does not lie first in it, unless that is no multiple of 256 KiB, and such a guest's is not"
        )
    return tuple(notes)
