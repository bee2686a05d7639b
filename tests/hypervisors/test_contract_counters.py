"""What a run has used is counted, for each vCPU and disk, and no run that ends or is mute spoils it for others."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from wirt.hypervisors.qemu.counters import SILENT_S, QemuCounters
from wirt.hypervisors.qemu.meter import OpenFiles, ProcessMeter, ProcFile, ThreadMeter
from wirt.hypervisors.qemu.process import ProcessId
from wirt.model.accounting import DiskCount, RunCount, Told
from wirt.model.errors import HypervisorError, HypervisorSilent
from wirt.model.units import MIB
from wirt.ports.virtual_clock import VirtualClock

from .conftest import FAKE, OLD, QEMU, make_rig
from .rigs import Rig, Started, eventually, make_disk

every = pytest.mark.parametrize("rig", [FAKE, QEMU, OLD], indirect=True)


@pytest.fixture
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    made = make_rig(request, str(request.param), tmp_path)
    yield made
    made.counters.close()
    await made.close()


async def counted(rig: Rig, started: Started, reached: Callable[[RunCount], bool]) -> RunCount:
    """Once it is so: the kernel counts when it pleases."""
    for _ in range(600):
        await rig.counters.ask([started.domain])
        found = rig.counters.read()[started.domain]
        if reached(found):
            return found
        await rig.let_run(started, 0.1)
    raise AssertionError(f"never so, but {found}")


@every
async def test_time_disks_and_memory_of_a_run_are_counted_and_only_grow(rig: Rig, tmp_path: Path) -> None:
    started = await rig.start(rig.config(disk=make_disk(tmp_path / "disk"), vcpus=2))
    assert rig.counters.read()[started.domain].told is None
    await rig.counters.ask([started.domain])
    before = rig.counters.read()[started.domain]
    assert [vcpu.index for vcpu in before.vcpus] == [0, 1]
    assert before.told is not None and [disk.vdev for disk in before.told.disks] == ["xvda"]
    # What a migration needs is on top of what was asked for.
    assert before.told.balloon_bytes is not None and 95 * MIB <= before.told.balloon_bytes <= 97 * MIB
    assert before.resident_bytes > 0
    await rig.hypervisor.resume(started.domain)
    after = await counted(rig, started, lambda now: now.vcpus[0].ran_ns > before.vcpus[0].ran_ns + 50_000_000)
    assert after.run == before.run and after.vcpus[0].cpu is not None
    assert after.total_ns > before.total_ns and (after.emulator_ns or 0) >= (before.emulator_ns or 0)
    for then, now in zip(before.vcpus, after.vcpus, strict=True):
        assert now.ran_ns >= then.ran_ns
        assert now.waited_ns is not None and now.waited_ns >= (then.waited_ns or 0)


@every
async def test_a_run_that_is_gone_is_not_counted_and_its_successor_is_another_run(rig: Rig) -> None:
    config = rig.config()
    started = await rig.start(config)
    other = await rig.start(rig.config("other"))
    await rig.counters.ask([started.domain, other.domain, uuid4()])
    first = rig.counters.read()
    assert first.keys() == {started.domain, other.domain}
    await rig.vanish(started)
    await eventually(lambda: rig.counters.read().keys() == {other.domain})
    await rig.counters.ask([started.domain, other.domain])
    await rig.hypervisor.clear(started.domain, started.directory)
    again = await rig.start(config, started.domain)
    assert rig.counters.read()[again.domain].run != first[started.domain].run


@every
async def test_a_new_daemon_goes_on_counting_the_same_run(rig: Rig) -> None:
    started = await rig.start(rig.config())
    await rig.counters.ask([started.domain])
    before = rig.counters.read()[started.domain]
    rig.counters.close()
    await rig.lose_daemon()
    assert rig.counters.read() == {}
    assert await rig.hypervisor.adopt(started.incarnation, started.directory) is not None
    await rig.counters.ask([started.domain])
    after = rig.counters.read()[started.domain]
    assert after.run == before.run and len(after.vcpus) == 1
    assert after.vcpus[0].ran_ns >= before.vcpus[0].ran_ns


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_files_stay_open_only_as_many_as_may() -> None:
    before = open_files()
    files = OpenFiles(2)
    readers = [ProcFile("/proc/self/statm", files) for _ in range(4)]
    for _ in range(3):
        assert all(reader.read() for reader in readers)
    assert open_files() == before + 2
    readers[0].close()
    assert readers[3].read() and open_files() == before + 2
    for reader in readers:
        reader.close()
    assert open_files() == before and files.take() and files.take() and not files.take()


def test_a_process_that_is_not_there_counts_nothing_and_is_no_error() -> None:
    files = OpenFiles(10)
    meter = ProcessMeter(1 << 30, files)
    meter.set_vcpus({0: 1 << 30})
    assert meter.total_ns() is None and meter.resident_bytes() == 0 and meter.main_waited_ns() is None
    assert meter.vcpus()[0].ran_ns == 0


def test_a_thread_is_measured_as_it_runs() -> None:
    pid = os.getpid()
    thread = ThreadMeter(pid, pid, 7, OpenFiles(10))
    first = thread.read()
    for _ in range(10_000):
        if thread.read().ran_ns > first.ran_ns:
            break
        sum(range(100_000))
    later = thread.read()
    assert later.index == 7 and later.ran_ns > first.ran_ns and later.cpu in os.sched_getaffinity(0)
    thread.close()


def test_the_part_that_no_vcpu_did_never_shrinks() -> None:
    pid = os.getpid()
    meter = ProcessMeter(pid, OpenFiles(0))
    meter.set_vcpus({0: pid})
    (vcpu,) = meter.vcpus()
    assert meter.emulator_ns(vcpu.ran_ns + 900, (vcpu,)) == 900
    assert meter.emulator_ns(vcpu.ran_ns + 200, (vcpu,)) == 900
    meter.set_vcpus({1: pid})
    (moved,) = meter.vcpus()
    # What one that was unplugged has done stays a vCPU's.
    assert meter.emulator_ns(vcpu.ran_ns + moved.ran_ns + 950, (moved,)) <= 950
    assert [vcpu.index for vcpu in meter.vcpus()] == [1]


class Talker:
    """A monitor that answers as it is told."""

    def __init__(self) -> None:
        stats = {f"{name}_{what}": 5 for name in ("rd", "wr", "flush") for what in WHATS}
        self.asked: list[str] = []
        self.answers: dict[str, object] = {
            "query-cpus-fast": [{"cpu-index": 0, "thread-id": os.getpid()}],
            "query-blockstats": [{"qdev": "disk-xvda-device", "stats": stats}, {"qdev": "floppy"}],
            "query-balloon": HypervisorError("QEMU refused query-balloon"),
        }

    async def execute(self, command: str) -> object:
        self.asked.append(command)
        answer = self.answers[command]
        if isinstance(answer, Exception):
            raise answer
        return answer


WHATS = ("operations", "bytes", "total_time_ns")


def talking() -> tuple[QemuCounters, Talker, VirtualClock, UUID]:
    """A run that is this very process."""
    talker, clock, domain = Talker(), VirtualClock(), uuid4()
    process = SimpleNamespace(identity=ProcessId(os.getpid(), 1), gone=False)
    runs = {domain: SimpleNamespace(name="web", process=process, monitor=talker)}
    return QemuCounters(cast(Any, SimpleNamespace(runs=runs)), clock), talker, clock, domain


async def test_a_guest_without_a_balloon_and_with_a_drive_that_is_no_disk_is_counted() -> None:
    counters, _, _, domain = talking()
    await counters.ask([domain])
    told = counters.read()[domain].told
    assert told == Told(0.0, (DiskCount("xvda", 5, 5, 5, 5, 5, 15),), None)
    counters.close()


async def test_a_qemu_that_says_nothing_is_left_alone_for_a_while_and_keeps_what_it_told() -> None:
    counters, talker, clock, domain = talking()
    await counters.ask([domain])
    before = counters.read()[domain].told
    for mute in ("query-balloon", "query-blockstats"):
        talker.answers[mute] = HypervisorSilent("it says nothing")
        talker.asked.clear()
        for _ in range(3):
            await counters.ask([domain])
        assert talker.asked.count(mute) == 1 and counters.read()[domain].told == before
        await clock.advance(SILENT_S)
    counters.close()


@pytest.mark.parametrize(
    ("command", "lie"),
    [
        ("query-cpus-fast", [{"cpu-index": -1, "thread-id": 1}]),
        ("query-blockstats", [{"qdev": "disk-xvda-device", "stats": {"rd_operations": "many"}}]),
        ("query-blockstats", [{"qdev": "disk-xvda-device"}]),
        ("query-balloon", {"actual": True}),
    ],
)
async def test_a_qemu_that_lies_about_its_counters_is_no_harm(command: str, lie: object) -> None:
    counters, talker, _, domain = talking()
    talker.answers[command] = lie
    await counters.ask([domain])
    found = counters.read()[domain]
    assert found.told is None and found.total_ns > 0
    counters.close()
