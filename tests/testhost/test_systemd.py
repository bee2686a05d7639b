"""wirtd as systemd runs it, by the shipped unit: guests outlive it, and the next one has all that it had."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.guests import silent
from tests.system.host import SOURCE

from wirt.images.tiny import TinyImage

pytestmark = [pytest.mark.testhost, pytest.mark.root, pytest.mark.real]

UNIT = SOURCE.parent / "packaging" / "systemd" / "wirtd.service"
PLACE = Path("/run/systemd/system")
PATIENT_S = 400
"""Under emulation, and with other work on both CPUs outside."""


def run(*words: str | Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WIRT_")}
    environment |= {"PYTHONPATH": str(SOURCE), "WIRT_NO_AUTOSTART": "1"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENT_S, check=False, env=environment)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def wirt(*words: str | Path) -> str:
    return run(sys.executable, "-m", "wirt.cli.main", *words)


def said(*words: str | Path) -> Any:
    return json.loads(wirt(*words, "-o", "json"))


def property_of(name: str) -> str:
    return run("systemctl", "show", "--value", "-p", name, "wirtd").strip()


@pytest.fixture
def unit() -> Iterator[None]:
    """The shipped unit; only where the program is differs, as the guide says a drop-in does."""
    dropin = PLACE / "wirtd.service.d"
    dropin.mkdir(parents=True)
    program = f"{sys.executable} -m wirt.daemon.main"
    (dropin / "here.conf").write_text(
        f"[Service]\nExecStart=\nExecStart={program}\nEnvironment=PYTHONPATH={SOURCE}\n"
        f"TimeoutStartSec={PATIENT_S}\n"
    )
    shutil.copy(UNIT, PLACE)
    try:
        run("systemctl", "daemon-reload")
        run("systemctl", "start", "wirtd")
        yield
    finally:
        subprocess.run(["systemctl", "stop", "wirtd"], timeout=PATIENT_S, check=False)
        (PLACE / UNIT.name).unlink()
        shutil.rmtree(dropin)
        run("systemctl", "daemon-reload")


def test_guests_outlive_it_and_the_next_one_has_what_it_mounted(
    unit: None, tiny: TinyImage, tmp_path: Path
) -> None:
    assert not [note for note in said("info")["notes"] if "mount namespace" in note]
    config = tmp_path / "web.cfg"
    config.write_text(silent(tiny, "web"))
    wirt("create", "-p", config)
    [before] = [domain for domain in said("list")["domains"] if domain["name"] == "web"]
    first = property_of("MainPID")
    try:
        run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "wirtd")
        deadline = time.monotonic() + PATIENT_S
        while property_of("MainPID") in ("0", first) or property_of("ActiveState") != "active":
            assert time.monotonic() < deadline, run("journalctl", "-u", "wirtd", "--no-pager", "-n", "20")
            time.sleep(1)
        [after] = [domain for domain in said("list")["domains"] if domain["name"] == "web"]
        assert (after["domid"], after["state"]) == (before["domid"], "paused")
        wirt("console", "--no-follow", "web")
    finally:
        wirt("destroy", "web")
    assert f"/domains/{before['domid']}" not in Path("/proc/mounts").read_text()
