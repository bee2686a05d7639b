"""A jail for the stand-in, and what it may not reach."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.model.errors import Unavailable
from wirt.sandbox import HostSandbox, facts
from wirt.sandbox.uids import UidClaims

SOURCE = Path(__file__).with_name("breakout.c")


@pytest.fixture(scope="session")
def open_place() -> Iterator[Path]:
    """A directory that every user of the machine can enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="wirt-breakout-") as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


@pytest.fixture(scope="session")
def breakout(open_place: Path) -> Path:
    """The stand-in for a QEMU that was taken over: one static program."""
    if (built := os.environ.get("WIRT_BREAKOUT")) is not None:  # in the test host, which has no compiler
        return Path(built)
    compiler = shutil.which("musl-gcc")
    if compiler is None:
        pytest.skip("needs musl-gcc: apt-get install musl-tools")
    program = open_place / "breakout"
    subprocess.run([compiler, "-static", "-O1", "-o", program, SOURCE], check=True, timeout=60)
    program.chmod(0o755)
    return program


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[HostSandbox]:
    """The jail as root builds it; uids are claimed in a place of the test's own."""
    if not facts.may_be_root():
        pytest.skip("needs root with CAP_SYS_ADMIN and CAP_SETUID: sudo make test")
    try:
        yield HostSandbox(facts.tools(), facts.hierarchies(), UidClaims(tmp_path / "uids"), root=True)
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A run's directory; whatever was mounted there is gone afterwards, or the test says so."""
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    yield path
    left = os.path.ismount(path)
    if left:
        subprocess.run(["umount", "-l", path], check=False)
    assert not left, "the run's file system was left mounted"
