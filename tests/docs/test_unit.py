"""The systemd unit: guests outlive the daemon, and no hardening takes from them what they need."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "packaging" / "systemd" / "wirtd.service"

# Each hides or forbids something that wirtd or a guest uses (systemd.exec(5)).
BREAKS_GUESTS = (
    "PrivateDevices",
    "ProtectClock",
    "DeviceAllow",
    "PrivateNetwork",
    "PrivateUsers",
    "RestrictNamespaces",
    "ProtectKernelTunables",
    "ProtectControlGroups",
    "ProtectHome",
    "MemoryDenyWriteExecute",
    "NoNewPrivileges",
    "RootDirectory",
    "MemoryMax",
)
# Each comes with a mount namespace (systemd.exec(5)): the next wirtd would not see what this one mounted.
HIDES_MOUNTS = (
    "ProtectSystem",
    "ProtectHostname",
    "ProtectKernelModules",
    "ProtectKernelLogs",
    "PrivateTmp",
    "PrivateMounts",
    "ReadWritePaths",
    "ReadOnlyPaths",
    "InaccessiblePaths",
    "BindPaths",
    "TemporaryFileSystem",
    "ProtectProc",
    "DynamicUser",
    "MountFlags",
)


def settings() -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))


def test_guests_outlive_the_daemon_and_it_comes_back() -> None:
    expected = {
        "Type": "notify",
        "KillMode": "process",
        "Delegate": "yes",
        "Restart": "on-failure",
        "RuntimeDirectoryPreserve": "yes",
        "OOMPolicy": "continue",
    }
    assert {name: settings().get(name) for name in expected} == expected


@pytest.mark.parametrize("name", [*BREAKS_GUESTS, *HIDES_MOUNTS])
def test_no_hardening_that_breaks_guests(name: str) -> None:
    assert name not in settings()


def test_its_directories_are_those_that_wirtd_uses() -> None:
    from wirt.wire.home import find_home

    home = find_home({}, 0)
    assert home.state == f"/var/lib/{settings()['StateDirectory']}"
    assert home.run == f"/run/{settings()['RuntimeDirectory']}"


def test_the_guide_installs_what_the_unit_starts() -> None:
    guide = (ROOT / "docs" / "getting-started.md").read_text()
    directory = Path(settings()["ExecStart"]).parent
    assert f'"$PWD/.venv/bin/wirt" {directory}/' in guide
    assert "packaging/systemd/wirtd.service /etc/systemd/system/" in guide


def test_systemd_knows_every_line() -> None:
    """Where systemd is; whether the program and its manual are installed is not asked."""
    if not shutil.which("systemd-analyze"):
        return
    run = subprocess.run(["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, check=False)
    complaints = [
        line for line in run.stderr.splitlines() if "is not executable" not in line and "'man " not in line
    ]
    assert [line for line in complaints if UNIT.name in line] == []
