from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from wirt.cli.main import main

from .canned import Canned

SOURCE = Path(__file__).parents[2] / "src"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A ``WIRT_HOME``; short, because a socket's path holds 107 bytes and pytest's ``tmp_path`` is long."""
    directory = Path(tempfile.mkdtemp(prefix="wirt-"))
    (directory / "run").mkdir()
    monkeypatch.setenv("WIRT_HOME", str(directory))
    monkeypatch.setenv("WIRT_NO_AUTOSTART", "1")
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("WIRT_DEBUG", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def wirtd(home: Path) -> Iterator[Canned]:
    server = Canned(str(home / "run" / "wirtd.sock"))
    yield server
    server.close()


@pytest.fixture
def wirt(home: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in this process."""

    def run(*words: str) -> Result:
        code = main(list(words))
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return run


@pytest.fixture
def wirt_process(home: Path) -> Run:
    """Runs a command line as a command."""

    def run(*words: str, stdin: str = "", **environment: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "wirt.cli.main", *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env={**os.environ, **environment},
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run
