"""Hardware-assisted virtualisation for real: software emulation outside gives the test host AMD's SVM."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.system.guests import READY, hvm, kept_console, pvh
from tests.system.host import Host, a_host

from wirt.hypervisors.qemu import probe
from wirt.hypervisors.qemu.probe import find_accelerator, find_facts
from wirt.images.tiny import TinyImage
from wirt.plan.host import Accelerator

pytestmark = [pytest.mark.testhost, pytest.mark.root, pytest.mark.real]

PATIENT_S = 400.0
"""Under emulation, and with other work on both CPUs outside."""


async def test_the_probe_says_that_kvm_works() -> None:
    accelerator, reason = await find_accelerator("/usr/bin/qemu-system-x86_64", deadline_s=60.0)
    assert accelerator is Accelerator.KVM, reason
    assert "KVM ran a test program" in reason


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Its answer to the question of KVM is there, found with more patience than a daemon has."""
    scratch = tmp_path_factory.mktemp("kvm")
    learn_patiently(scratch / "home")
    with a_host(scratch / "home", scratch) as host:
        yield host


def learn_patiently(home: Path) -> Path:
    """What a daemon with that home knows of QEMU then; the file."""
    facts = Path(Host(home, home.parent).home.cache, "qemu.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "find_accelerator", partial(find_accelerator, deadline_s=PATIENT_S))
        asyncio.run(find_facts(str(shutil.which("qemu-system-x86_64")), facts))
    return facts


def test_wirt_chooses_kvm_by_itself(host: Host) -> None:
    assert host.json("info")["accelerator"] == "kvm"


def test_a_pvh_guest_comes_up_under_kvm(host: Host, tiny: TinyImage) -> None:
    config = host.write("direct.cfg", pvh(tiny, "direct", vif="net=none", cmdline="quiet mitigations=off"))
    host.ok("create", config)
    comes_up(host, "direct")
    assert guests_under_kvm() == 1
    host.ok("destroy", "direct")


@pytest.mark.long
def test_an_hvm_guest_comes_up_through_its_firmware_under_kvm(host: Host, tiny: TinyImage) -> None:
    disk = Path(shutil.copy(tiny.disk, host.scratch / "disk.qcow2"))
    config = host.write("firmware.cfg", hvm(disk, "firmware"))
    host.ok("create", config)
    comes_up(host, "firmware")
    assert guests_under_kvm() == 1
    host.ok("destroy", "firmware")


def comes_up(host: Host, name: str) -> None:
    """Asked seldom: whoever follows the console takes the only CPU from the guest."""
    deadline = time.monotonic() + PATIENT_S
    while READY not in (console := kept_console(host, name)):
        assert time.monotonic() < deadline, console.decode(errors="replace")[-1500:]
        time.sleep(5.0)


def guests_under_kvm() -> int:
    """Each has its descriptors of KVM (Linux, Documentation/virt/kvm/api.rst)."""
    links: set[tuple[str, str]] = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            links.add((link.parts[2], str(link.readlink())))
    return sum(target == "anon_inode:kvm-vm" for _, target in links)
