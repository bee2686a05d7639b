"""A QEMU that loses pages of emulated guests is known for it, told of, and gets no chance. That it does lose them
is for :mod:`test_qemu_migration_bytes` to show."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.hypervisors.qemu import probe
from wirt.hypervisors.qemu.cmdline import memory_size
from wirt.hypervisors.qemu.plugged import Sizes
from wirt.hypervisors.qemu.run import Run
from wirt.hypervisors.qemu.sending import FORGOTTEN_BLOCK, check_keeps_pages
from wirt.model.errors import IllegalState
from wirt.model.lifecycle import State
from wirt.plan.host import Accelerator
from wirt.plan.launch import plan_launch

from .qemu_plans import DIRECT, HOST, TCG, UUID_1

MIB = 1 << 20
LOSES = [("7.2.22", "tcg"), ("8.2.7", "tcg")]
KEEPS = [("9.0.0", "tcg"), ("10.0.2", "tcg"), ("7.2.22", "kvm")]


async def notes(directory: Path, version: str, accelerator: str) -> str:
    """What ``wirt info`` says of a QEMU."""
    answer = {"key": probe.boot_key("/a/qemu"), "version": version, "accelerator": accelerator, "reason": ""}
    (directory / "cache.json").write_text(json.dumps(answer))
    return " ".join((await probe.find_facts("/a/qemu", directory / "cache.json")).notes)


@pytest.mark.parametrize(("version", "accelerator"), LOSES)
async def test_info_says_of_such_a_qemu_what_it_would_do_and_what_is_done_about_it(
    tmp_path: Path, version: str, accelerator: str
) -> None:
    said = await notes(tmp_path, version, accelerator)
    assert (
        "this QEMU would lose pages" in said and "multiple of 256 KiB" in said and "safe by construction" in said
    )


@pytest.mark.parametrize(("version", "accelerator"), KEEPS)
async def test_of_others_info_says_so_of_memory_that_is_plugged_in_and_of_kvm_nothing(
    tmp_path: Path, version: str, accelerator: str
) -> None:
    said = await notes(tmp_path, version, accelerator)
    assert ("emulated guests with hotplug_memory is safe" in said) == ("pages" in said) == (accelerator == "tcg")


@given(memory_mib=st.integers(80, 31 << 10), which=st.sampled_from([*LOSES, *KEEPS]))
def test_no_guest_begins_there_with_memory_that_pages_would_be_lost_of(
    memory_mib: int, which: tuple[str, str]
) -> None:
    version, accelerator = which
    major, minor, micro = (int(part) for part in version.split("."))
    qemu = replace(TCG, version=(major, minor, micro), accelerator=Accelerator(accelerator))
    size = memory_size(plan_launch(replace(DIRECT, memory_mib=memory_mib), UUID_1, 1, HOST, qemu))
    size_kib = int(size[:-1]) * (1 if size.endswith("K") else 1024)
    assert (size_kib * 1024 % FORGOTTEN_BLOCK != 0) == (which in LOSES)
    assert 0 <= size_kib - memory_mib * 1024 <= 8
    plugs = memory_size(
        plan_launch(replace(DIRECT, memory_mib=memory_mib, hotplug_mib=128), UUID_1, 1, HOST, qemu)
    )
    assert plugs == (f"{memory_mib}M" if qemu.accelerator is Accelerator.KVM else f"{memory_mib * 1024 + 8}K")


@dataclass
class Answering:
    """A monitor of a QEMU of that version, whose guest has so much memory."""

    version: str
    kvm: bool
    memory_bytes: int
    plugged_bytes: int | None

    async def execute(self, command: str) -> dict[str, Any]:
        major, minor, micro = (int(part) for part in self.version.split("."))
        plugged = {} if self.plugged_bytes is None else {"plugged-memory": self.plugged_bytes}
        answers: dict[str, dict[str, Any]] = {
            "query-version": {"qemu": {"major": major, "minor": minor, "micro": micro}, "package": ""},
            "query-kvm": {"enabled": self.kvm, "present": self.kvm},
            "query-memory-size-summary": {"base-memory": self.memory_bytes, **plugged},
        }
        return answers[command]


def run(
    version: str,
    *,
    kvm: bool = False,
    memory_bytes: int = 256 * MIB,
    plugged_bytes: int | None = None,
    state: State = State.RUNNING,
    hotplug: int = 0,
) -> Run:
    monitor = Answering(version, kvm, memory_bytes, plugged_bytes)
    about = {"monitor": monitor, "observed": SimpleNamespace(state=state), "memory": Sizes(256, hotplug)}
    return cast(Run, SimpleNamespace(name="web", **about))


@pytest.mark.parametrize(
    "unsafe",
    [
        run("7.2.22"),
        run("8.2.7"),
        run("7.2.22", memory_bytes=256 * MIB + 8192, plugged_bytes=128 * MIB, hotplug=512),
        run("10.0.2", plugged_bytes=0, hotplug=512),
    ],
    ids=["7.2", "8.2", "plugged in", "not first among all memory"],
)
async def test_a_guest_that_would_lose_pages_is_not_sent_and_it_is_said_what_helps(unsafe: Run) -> None:
    with pytest.raises(IllegalState, match="web runs emulated in a QEMU which would lose") as refused:
        await check_keeps_pages(unsafe)
    assert "wirt pause web" in str(refused.value.hint)


@pytest.mark.parametrize(
    "safe",
    [
        run("9.0.0"),
        run("10.0.2"),
        run("7.2.22", kvm=True),
        run("7.2.22", memory_bytes=256 * MIB + 8192),
        run("7.2.22", memory_bytes=256 * MIB + 8192, plugged_bytes=0),
        run("7.2.22", state=State.PAUSED),
        run("10.0.2", memory_bytes=256 * MIB + 8192, plugged_bytes=128 * MIB, hotplug=512),
        run("7.2.22", kvm=True, plugged_bytes=128 * MIB, hotplug=512),
    ],
    ids=["9.0", "10", "kvm", "two pages more", "nothing plugged in", "paused", "plugged in", "kvm plugged in"],
)
async def test_one_that_loses_none_is_sent(safe: Run) -> None:
    await check_keeps_pages(safe)
