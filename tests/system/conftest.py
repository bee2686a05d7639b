"""Hosts for the whole system's tests: ``fake_host`` where no guest matters, ``real_host`` with QEMU."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from .host import SOURCE, Host, a_host


@pytest.fixture(scope="session", autouse=True)
def ended_in_order() -> Iterator[None]:
    """Whoever ends the tests with SIGTERM ends what they started too: fixtures are left as they are by Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def qemu_facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What wirtd found out about this machine's QEMU. Where KVM is broken its probe takes 6 s, and once is enough
    for all hosts here."""
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("needs QEMU: make setup (Debian: apt-get install qemu-system-x86)")
    scratch = tmp_path_factory.mktemp("facts")
    with a_host(scratch / "home", scratch) as host:
        host.ok("info")
        return Path(shutil.copy(Path(host.home.cache, "qemu.json"), scratch))


def give_facts(home: Path, facts: Path) -> Path:
    """A new home that knows them."""
    (home / "cache").mkdir(parents=True)
    shutil.copy(facts, home / "cache" / "qemu.json")
    return home


@pytest.fixture
def namespace() -> Iterator[str]:
    """The name of a network namespace (ip-netns(8)) with nothing in it but a loopback."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make a network namespace: sudo make test")
    name = f"wirt-test-{uuid.uuid4().hex[:8]}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, timeout=30, check=False)
    if made.returncode != 0:
        pytest.skip(f"needs CAP_SYS_ADMIN to make a network namespace ({made.stderr.strip()})")
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], timeout=30, check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], timeout=30, check=True)


@pytest.fixture
def fake_host(tmp_path: Path) -> Iterator[Host]:
    with a_host(tmp_path / "home", tmp_path, environment={"WIRT_HYPERVISOR": "fake"}) as host:
        yield host


@pytest.fixture
def real_host(tmp_path: Path, qemu_facts: Path) -> Iterator[Host]:
    with a_host(give_facts(tmp_path / "home", qemu_facts), tmp_path) as host:
        yield host


@pytest.fixture(scope="module")
def shared_fake_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One for all tests of a module, each of which leaves it as it found it."""
    scratch = tmp_path_factory.mktemp("fake")
    with a_host(scratch / "home", scratch, environment={"WIRT_HYPERVISOR": "fake"}) as host:
        yield host


AWKWARD = Path("a home, with blanks & 'quotes'; ümläuts", *(["and far down"] * 20))
"""Where a home may be: what QEMU's options treat specially is in it, and a socket's name can't be that long."""


@pytest.fixture(scope="module")
def shared_real_host(tmp_path_factory: pytest.TempPathFactory, qemu_facts: Path) -> Iterator[Host]:
    scratch = tmp_path_factory.mktemp("real")
    with a_host(give_facts(scratch / AWKWARD, qemu_facts), scratch) as host:
        yield host


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory with a short path that other users can reach; pytest's own is closed to them."""
    directory = Path(tempfile.mkdtemp(prefix="wirt-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


NOBODY = 65534


@pytest.fixture(scope="session")
def as_nobody() -> tuple[str, ...]:
    """The command that runs others as a user who owns nothing."""
    if os.geteuid() != 0:
        pytest.skip("needs root to be two users: sudo make test")
    for path in (Path(sys.executable), Path(sys.executable).resolve(), SOURCE / "wirt"):
        if not all(each.stat().st_mode & 0o001 for each in path.parents):
            pytest.skip(f"needs {path} to be within other users' reach: put the project elsewhere")
    return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", "--")
