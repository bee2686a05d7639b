"""Guests move under KVM as they do emulated: the very tests of that, once each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.hypervisors import rigs
from tests.hypervisors import test_contract_migration as contract
from tests.hypervisors.rigs import QemuRig, Started
from tests.hypervisors.test_contract_migration import Pair
from tests.hypervisors.test_qemu_migration_bytes import to_and_fro

from wirt.hypervisors.qemu.driver import QemuSettings
from wirt.hypervisors.qemu.monitor import Patience
from wirt.images.tiny import TinyImage
from wirt.plan.host import Accelerator
from wirt.ports.migration import Course

from .test_kvm import PATIENT_S, guests_under_kvm, learn_patiently

pytestmark = [pytest.mark.testhost, pytest.mark.root, pytest.mark.real]

QEMU = "/usr/bin/qemu-system-x86_64"
MOVES = 2
COURSE = Course(max_downtime_ms=20_000)
"""A link that is emulated as well carries little in a moment."""


class PatientRig(QemuRig):
    """Its guests run under KVM, all of which is emulated outside."""

    async def command(self, started: Started, command: str, within_s: float = PATIENT_S) -> str:
        return await super().command(started, command, max(within_s, PATIENT_S))


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learn_patiently(tmp_path_factory.mktemp("facts") / "home")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(rigs, "BOOT_S", PATIENT_S)
    yield


@pytest.fixture
async def under_kvm(tmp_path: Path, tiny: TinyImage, facts: Path) -> AsyncIterator[Pair]:
    made = []
    patience = Patience(greeting_s=PATIENT_S, command_s=PATIENT_S, quit_s=PATIENT_S)
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        rig = PatientRig(tmp_path / name, tiny, QemuSettings(QEMU, facts, patience=patience))
        rig.accelerator = Accelerator.KVM
        made.append(rig)
    yield Pair(made[0], made[1], None)
    for rig in made:
        await rig.close()


async def test_a_guest_arrives_with_its_memory_and_goes_on_under_kvm(under_kvm: Pair) -> None:
    await contract.test_a_guest_arrives_with_its_memory_and_goes_on(under_kvm)
    assert guests_under_kvm() == 1


async def test_no_byte_differs_after_moves_under_kvm(under_kvm: Pair) -> None:
    await to_and_fro(under_kvm, MOVES, COURSE)


async def test_a_disk_comes_along_byte_for_byte_under_kvm(under_kvm: Pair) -> None:
    await contract.test_a_disk_comes_along_byte_for_byte(under_kvm)


async def test_it_goes_on_here_if_it_is_called_back_under_kvm(under_kvm: Pair) -> None:
    await contract.test_it_goes_on_here_if_it_is_called_back_after_all_was_sent(under_kvm)
