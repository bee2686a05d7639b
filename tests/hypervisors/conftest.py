"""One contract, every driver: ``rig`` is each of them in turn. Tests that ask for ``booting`` take all QEMUs."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wirt.hypervisors.qemu.driver import QemuSettings
from wirt.images.tiny import TinyImage
from wirt.sandbox import NoSandbox

from .rigs import FakeRig, QemuRig, Rig

CACHE = Path(__file__).resolve().parents[2] / ".cache"
OLD_QEMU = CACHE / "qemu-7.2/usr/bin/qemu-system-x86_64"

FAKE = pytest.param("fake")
QEMU = pytest.param("qemu", marks=pytest.mark.real)
UNJAILED = pytest.param("qemu-unjailed", marks=pytest.mark.real)
"""With neither a jail nor passt: what a host gets that has neither, or whose owner wants neither."""
OLD = pytest.param("qemu-7.2", marks=pytest.mark.real)
OLD_LONG = pytest.param("qemu-7.2", marks=(pytest.mark.real, pytest.mark.long))
"""For what boots a guest, and is not about what an old QEMU does otherwise."""


def qemu_binary(name: str) -> str:
    """The QEMU called ``name`` here; a test that needs one which isn't there says how to get it."""
    if name == "qemu-7.2":
        if not OLD_QEMU.exists():
            pytest.skip("needs Debian 12's own QEMU 7.2: tools/setup/qemu-distribution.sh .cache/qemu-7.2")
        return str(OLD_QEMU)
    found = shutil.which("qemu-system-x86_64")
    if found is None:
        pytest.skip("needs QEMU: make setup (Debian: apt-get install qemu-system-x86)")
    return found


@pytest.fixture(scope="session")
def probe_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The probe takes seconds where KVM does not work, so all tests share its answer."""
    return tmp_path_factory.mktemp("probe")


@pytest.fixture
def qemu_settings(probe_cache: Path) -> QemuSettings:
    return QemuSettings(qemu_binary("qemu"), probe_cache / "qemu.json")


@pytest.fixture(params=[FAKE, QEMU])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    made = make_rig(request, str(request.param), tmp_path)
    yield made
    await made.close()


def make_rig(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> Rig:
    if name == "fake":
        return FakeRig(tmp_path)
    binary = qemu_binary(name.removesuffix("-unjailed"))
    tiny: TinyImage = request.getfixturevalue("tiny")
    cache: Path = request.getfixturevalue("probe_cache")
    if name == "qemu-unjailed":
        settings = QemuSettings(binary, cache / "qemu.json", passt="none")
        return QemuRig(tmp_path, tiny, settings, NoSandbox("this test has none"))
    return QemuRig(tmp_path, tiny, QemuSettings(binary, cache / f"{name}.json"))


@pytest.fixture
async def fake_rig(tmp_path: Path) -> AsyncIterator[FakeRig]:
    made = FakeRig(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def qemu_rig(tmp_path: Path, tiny: TinyImage, qemu_settings: QemuSettings) -> AsyncIterator[QemuRig]:
    made = QemuRig(tmp_path, tiny, qemu_settings)
    yield made
    await made.close()
