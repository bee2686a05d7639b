"""What this host's QEMU can do is found out by trying, in bounded time, and whatever is in QEMU's place."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from wirt.hypervisors.qemu import probe
from wirt.hypervisors.qemu.driver import QemuHypervisor, QemuSettings
from wirt.model.domain import GuestType
from wirt.model.errors import HypervisorSilent, Unavailable
from wirt.plan.host import Accelerator
from wirt.sandbox import NoSandbox

from .qemu_scripts import script

SOURCE = Path(probe.__file__).with_name("probe.S")
VERSION = 'case "$*" in *--version*) echo "QEMU emulator version 9.1.2 (Debian)"; exit 0;; esac\n'


@pytest.mark.real
async def test_the_real_probe_answers_in_time_with_a_reason(qemu_settings: QemuSettings) -> None:
    start = time.monotonic()
    facts = await QemuHypervisor(qemu_settings, NoSandbox("nothing is started")).facts()
    assert time.monotonic() - start <= probe.BUSY_TIMES * probe.PROBE_S + 10
    assert facts.version >= (7, 2, 0)
    assert facts.guest_types == frozenset(GuestType)
    if facts.accelerator is Accelerator.TCG:
        assert facts.accelerator_reason.endswith("software emulation")
    else:
        assert facts.accelerator is Accelerator.KVM
        assert "ran a test program" in facts.accelerator_reason


def test_the_probe_is_what_its_source_says(tmp_path: Path) -> None:
    if shutil.which("as") is None or shutil.which("objcopy") is None:
        pytest.skip("needs an assembler: apt-get install binutils")
    subprocess.run(["as", "--64", "-o", tmp_path / "probe.o", SOURCE], check=True)
    subprocess.run(
        ["objcopy", "-O", "binary", "-j", ".text", tmp_path / "probe.o", tmp_path / "probe.bin"], check=True
    )
    assert (tmp_path / "probe.bin").read_bytes() == probe.probe_rom()


async def find(binary: str, tmp_path: Path, deadline_s: float = 5.0) -> tuple[Accelerator, str]:
    device = tmp_path / "kvm"
    device.touch()
    return await probe.find_accelerator(binary, device, deadline_s)


async def test_a_probe_that_ends_as_it_should_means_kvm(tmp_path: Path) -> None:
    accelerator, reason = await find(script(tmp_path / "qemu", "exit 85\n"), tmp_path)
    assert accelerator is Accelerator.KVM
    assert "ran a test program in 0." in reason


@pytest.mark.parametrize(("body", "words"), [("echo no luck >&2; exit 1", "no luck"), ("exit 3", "exit status 3")])
async def test_a_probe_that_fails_means_tcg_and_says_why(tmp_path: Path, body: str, words: str) -> None:
    accelerator, reason = await find(script(tmp_path / "qemu", body + "\n"), tmp_path)
    assert accelerator is Accelerator.TCG
    assert words in reason


async def test_a_probe_that_hangs_means_tcg_and_leaves_no_process(tmp_path: Path) -> None:
    body = f"echo $$ > {tmp_path}/pid; sleep 100 & echo $! >> {tmp_path}/pid; wait\n"
    accelerator, reason = await find(script(tmp_path / "qemu", body), tmp_path, deadline_s=0.5)
    assert accelerator is Accelerator.TCG
    assert "did not run a test program within 0.5 s" in reason
    for pid in (tmp_path / "pid").read_text().split():
        assert not alive(int(pid))


async def test_a_probe_that_waits_for_a_cpu_of_a_busy_host_is_waited_for(tmp_path: Path) -> None:
    pinned = f"exec taskset -c 0 {sys.executable} -c"
    work = f"{pinned} 'import os, time\nwhile time.process_time() < 0.5: pass\nos._exit(85)'\n"
    busy = ["taskset", "-c", "0", sys.executable, "-c", "while True: pass"]
    others = [await asyncio.create_subprocess_exec(*busy) for _ in range(4)]
    try:
        accelerator, reason = await find(script(tmp_path / "qemu", work), tmp_path, deadline_s=1.2)
    finally:
        for other in others:
            other.kill()
            await other.wait()
    assert accelerator is Accelerator.KVM, reason


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_without_a_device_there_is_nothing_to_try(tmp_path: Path) -> None:
    accelerator, reason = await probe.find_accelerator("/nowhere/qemu", tmp_path / "kvm")
    assert accelerator is Accelerator.TCG
    assert "there is no" in reason


async def facts_of(binary: str, tmp_path: Path) -> None:
    await QemuHypervisor(QemuSettings(binary, tmp_path / "cache.json"), NoSandbox("it is no QEMU")).facts()


async def test_what_is_no_qemu_is_told_by_name(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("not a program")
    with pytest.raises(Unavailable, match=r"/nowhere/qemu can't be run: No such file.*install it"):
        await facts_of("/nowhere/qemu", tmp_path)
    with pytest.raises(Unavailable, match="plain can't be run: Permission denied"):
        await facts_of(str(plain), tmp_path)
    plain.chmod(0o755)
    with pytest.raises(Unavailable, match="plain can't be run: Exec format error"):
        await facts_of(str(plain), tmp_path)
    with pytest.raises(Unavailable, match=r"garbage is not a QEMU that answers: \S+ hello"):
        await facts_of(script(tmp_path / "garbage", "printf '\\377\\000 hello'\n"), tmp_path)
    with pytest.raises(Unavailable, match="fails is not a QEMU"):
        await facts_of(script(tmp_path / "fails", "echo version 9.1.2; exit 1\n"), tmp_path)


async def test_a_binary_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PROBE_S", 0.3)
    with pytest.raises(HypervisorSilent, match="hangs took longer"):
        await facts_of(script(tmp_path / "hangs", "exec sleep 100\n"), tmp_path)


@pytest.fixture
def counted(tmp_path: Path) -> str:
    """A QEMU that writes down each time it is asked."""
    return script(tmp_path / "qemu", f"echo asked >> {tmp_path}/asked\n{VERSION}exit 85\n")


def times_asked(tmp_path: Path) -> int:
    return len((tmp_path / "asked").read_text().split())


async def test_an_answer_is_kept_until_the_binary_changes(tmp_path: Path, counted: str) -> None:
    cache = tmp_path / "deep" / "down" / "cache.json"
    first = await probe.find_facts(counted, cache)
    asked = times_asked(tmp_path)
    assert first.version == (9, 1, 2)
    assert await probe.find_facts(counted, cache) == first
    assert times_asked(tmp_path) == asked
    script(Path(counted), Path(counted).read_text().replace("9.1.2", "9.2.0"))
    assert (await probe.find_facts(counted, cache)).version == (9, 2, 0)
    assert times_asked(tmp_path) > asked


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"key": 1}', "\x00\xff", "version", "accelerator"])
async def test_a_damaged_cache_only_costs_another_probe(tmp_path: Path, counted: str, damage: str) -> None:
    cache = tmp_path / "cache.json"
    first = await probe.find_facts(counted, cache)
    asked = times_asked(tmp_path)
    if damage in ("version", "accelerator"):
        damage = json.dumps(json.loads(cache.read_text()) | {damage: "x"})
    cache.write_text(damage)
    again = await probe.find_facts(counted, cache)
    assert replace(again, accelerator_reason="") == replace(first, accelerator_reason="")
    assert times_asked(tmp_path) > asked


async def test_a_cache_that_can_not_be_written_is_no_failure(tmp_path: Path, counted: str) -> None:
    (tmp_path / "file").touch()
    assert (await probe.find_facts(counted, tmp_path / "file" / "cache.json")).version == (9, 1, 2)
