"""Real QEMUs in bad company: stopped, killed, far down in the file system, with odd names; and on QEMU 7.2."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from wirt.hypervisors.qemu.driver import QemuSettings
from wirt.hypervisors.qemu.monitor import Patience
from wirt.images.tiny import TinyImage
from wirt.model.devices import DiskFormat, DiskSpec, NicType, VifKind, VifSpec
from wirt.model.domain import DomainConfig, Firmware, GuestType, Incarnation
from wirt.model.errors import HypervisorError, HypervisorSilent, ResourceBusy
from wirt.model.lifecycle import EndReason, State
from wirt.plan.launch import plan_launch
from wirt.ports.hypervisor import Launch, Observed

from .conftest import OLD, OLD_QEMU, QEMU
from .rigs import FACTS, HOST, QemuRig, Started, eventually, launch, make_disk, plugged

pytestmark = pytest.mark.real

every_qemu = pytest.mark.parametrize("rig", [QEMU, OLD], indirect=True)
SILENT = Patience(greeting_s=2.0, command_s=1.0, quit_s=0.5)


@pytest.fixture
async def impatient(tmp_path: Path, tiny: TinyImage, qemu_settings: QemuSettings) -> AsyncIterator[QemuRig]:
    made = QemuRig(tmp_path, tiny, replace(qemu_settings, patience=SILENT))
    yield made
    await made.close()


async def test_a_stopped_qemu_is_silent_and_works_again_when_it_goes_on(impatient: QemuRig) -> None:
    rig = impatient
    started = await rig.start(rig.config())
    domain, pid = started.domain, pid_of(started)
    await rig.hypervisor.resume(domain)
    await rig.changes.until(domain, State.RUNNING)
    os.kill(pid, signal.SIGSTOP)
    start = time.monotonic()
    for verb in (rig.hypervisor.pause, rig.hypervisor.power_button, rig.hypervisor.vcpus):
        with pytest.raises(HypervisorSilent, match=r"guest: QEMU did not give an answer to \S+ within 1 s"):
            await verb(domain)
    assert time.monotonic() - start < 3 * SILENT.command_s + 3
    assert rig.hypervisor.usage(domain) is not None
    os.kill(pid, signal.SIGCONT)
    await rig.changes.until(domain, State.PAUSED, within_s=10)
    await rig.hypervisor.resume(domain)
    await rig.changes.until(domain, State.RUNNING)
    os.kill(pid, signal.SIGSTOP)
    await rig.hypervisor.destroy(domain)
    assert not rig.exists(started)
    await rig.changes.until(domain, State.OFF, EndReason.DESTROYED)


async def test_a_mute_qemu_is_adopted_so_that_it_can_be_destroyed(impatient: QemuRig) -> None:
    rig = impatient
    started = await rig.start(rig.config())
    await rig.hypervisor.resume(started.domain)
    os.kill(pid_of(started), signal.SIGSTOP)
    rig.settings = replace(rig.settings, patience=replace(SILENT, greeting_s=0.2))
    for _ in range(6):  # more often than its sockets hold connections
        await rig.lose_daemon()
        assert await rig.hypervisor.adopt(started.incarnation, started.directory) == Observed(State.RUNNING)
    await rig.hypervisor.destroy(started.domain)
    assert not rig.exists(started)


async def test_a_run_whose_sockets_are_gone_is_adopted_so_that_it_can_be_destroyed(qemu_rig: QemuRig) -> None:
    for lost in ("control.sock", "console.sock", "events.log", "console.log"):
        started = await qemu_rig.start(qemu_rig.config())
        await qemu_rig.lose_daemon()
        (started.directory / lost).unlink()
        assert await qemu_rig.hypervisor.adopt(started.incarnation, started.directory) is not None
        await qemu_rig.hypervisor.destroy(started.domain)
        assert not qemu_rig.exists(started)


async def test_paths_may_be_longer_than_a_socket_address(qemu_rig: QemuRig, tmp_path: Path) -> None:
    directory = tmp_path / ("long, " * 40 + "path") / "and deep"
    assert len(str(directory)) > 250
    started = await launch(qemu_rig.hypervisor, qemu_rig.config(), uuid4(), 1, directory)
    qemu_rig.started_elsewhere(started)
    await qemu_rig.hypervisor.resume(started.domain)
    await qemu_rig.hypervisor.console(started.domain).write(b"\n")
    await qemu_rig.lose_daemon()
    assert await qemu_rig.hypervisor.adopt(started.incarnation, directory) == Observed(State.RUNNING)
    await qemu_rig.lose_daemon()
    await qemu_rig.hypervisor.clear(started.domain, directory)
    await eventually(lambda: not qemu_rig.exists(started))
    assert not directory.exists()


async def test_starts_and_ends_leak_no_descriptor_and_no_task(qemu_rig: QemuRig, tmp_path: Path) -> None:
    counts = []
    for _ in range(3):
        started = await qemu_rig.start(qemu_rig.config(disk=make_disk(tmp_path / "disk.raw")))
        with pytest.raises(ResourceBusy):
            await qemu_rig.start(qemu_rig.config(disk=tmp_path / "disk.raw"))
        await qemu_rig.hypervisor.resume(started.domain)
        await qemu_rig.hypervisor.destroy(started.domain)
        await asyncio.sleep(0.05)
        del started
        gc.collect()  # a console's log stays open for as long as somebody may read its last words
        counts.append((len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks())))
    assert counts[1] == counts[2]


def kinds(tiny: TinyImage, tmp_path: Path) -> dict[str, DomainConfig]:
    disk = make_disk(tmp_path / "disk.raw")
    user = VifSpec(kind=VifKind.USER)
    direct = DomainConfig(
        name="direct",
        type=GuestType.PVH,
        memory_mib=96,
        kernel=str(tiny.kernel),
        ramdisk=str(tiny.initramfs),
        cmdline='console=hvc0 word="a,b"',
        vcpus=2,
        maxvcpus=4,
        disks=(
            DiskSpec(vdev="xvda", target=str(tiny.disk), format=DiskFormat.QCOW2, writable=False),
            DiskSpec(vdev="xvdb", target=str(disk), discard=False),
            DiskSpec(vdev="xvdc", target=str(make_disk(tmp_path / 'odd, "c" \\d\n.raw')), specification="shared"),
        ),
        vifs=(
            replace(user, ip=("192.168.7.1/29",), mtu=1400),
            replace(user, model="rtl8139"),
            VifSpec(kind=VifKind.NONE, model="e1000e"),
        ),
        smbios=(("oem", "wirt:hostname=a"), ("oem", "with, a comma")),
    )
    hvm = DomainConfig(
        name='hvm, "quoted"',
        type=GuestType.HVM,
        memory_mib=64,
        boot="dcn",
        disks=(
            DiskSpec(vdev="hda", target=str(disk)),
            DiskSpec(vdev="hdc", target=str(make_disk(tmp_path / "setup.iso")), cdrom=True, writable=False),
            DiskSpec(vdev="hdd", cdrom=True, format=DiskFormat.EMPTY),
            DiskSpec(vdev="xvdb", target=str(make_disk(tmp_path / "data.raw"))),
        ),
        vifs=(replace(user, type=NicType.IOEMU), user),
    )
    return {"direct": direct, "seabios": hvm, "ovmf": replace(hvm, firmware=Firmware.OVMF)}


@every_qemu
async def test_qemu_takes_every_kind_of_command_line(rig: QemuRig, tiny: TinyImage, tmp_path: Path) -> None:
    """The golden files say what it is; this, that QEMU agrees."""
    facts = await rig.hypervisor.facts() if str(OLD_QEMU) != rig.binary else replace(FACTS, version=(7, 2, 0))
    for number, (kind, config) in enumerate(kinds(tiny, tmp_path).items()):
        if kind == "ovmf" and facts.firmware_file("ovmf") is None:
            continue  # QEMU 7.2 is not asked: finding its firmware would cost another probe
        domain, directory = uuid4(), tmp_path / f"kind-{number}"
        plan = plan_launch(config, domain, number, HOST, facts)
        begun = Incarnation(domain, number, "here", 1, "qemu", 0.0)
        made = await rig.hypervisor.launch(Launch(plan, begun, directory, plugged(plan)))
        rig.started_elsewhere(Started(made, directory, config))
        await rig.hypervisor.resume(domain)
        assert len(await rig.hypervisor.vcpus(domain)) == config.vcpus
        await rig.hypervisor.destroy(domain)


@pytest.mark.parametrize("rig", [OLD], indirect=True)
async def test_a_qemu_that_can_not_let_go_of_disks_refuses_to_preserve_and_changes_nothing(
    rig: QemuRig, tmp_path: Path
) -> None:
    started = await rig.start(rig.config(disk=make_disk(tmp_path / "disk.raw")))
    with pytest.raises(HypervisorError, match="QEMU refused blockdev-set-active"):
        await rig.hypervisor.preserve(started.domain, uuid4(), "kept")
    await rig.hypervisor.resume(started.domain)
    await rig.changes.until(started.domain, State.RUNNING)
    await rig.hypervisor.destroy(started.domain)


async def test_a_killed_qemu_says_by_which_signal(qemu_rig: QemuRig) -> None:
    started = await qemu_rig.start(qemu_rig.config())
    os.kill(pid_of(started), signal.SIGKILL)
    await qemu_rig.changes.until(started.domain, State.OFF, EndReason.CRASH, within_s=10)
    assert "signal SIGKILL" in qemu_rig.changes.seen[-1].message


def pid_of(started: Started) -> int:
    assert started.incarnation.pid is not None
    return started.incarnation.pid
