"""The agent of a real Debian: it freezes real file systems, tells real addresses, and sets a real clock."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import give_facts
from .guests import watch
from .host import PATIENCE, Host, a_host, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root; others need ids in /etc/subuid"),
]

INSTALL_S = 900.0 * PATIENCE
LOGIN_S = 400.0 * PATIENCE
SUPERBLOCK, FEATURES, NEEDS_RECOVERY = 1024, 0x60, 0x4
"""Of ext4, with s_feature_incompat in it (kernel.org, ext4 Data Structures, 'The Super Block')."""


@pytest.mark.long
@pytest.mark.real
def test_what_is_kept_of_a_debian_guest_needs_no_repair_and_the_guest_goes_on(
    tmp_path: Path, qemu_facts: Path
) -> None:
    if shutil.which("mmdebstrap") is None:
        pytest.fail("this test needs mmdebstrap: make setup (Debian: apt-get install mmdebstrap)", pytrace=False)
    with a_host(give_facts(tmp_path / "home", qemu_facts), tmp_path) as host:
        words = ("--into", "default/web", "--size", "2G", "--packages", "qemu-guest-agent")
        done = host.run("bootstrap", "debian", *words, timeout_s=INSTALL_S)
        assert done.code == 0, done.err
        text = Path(host.home.state, "boot/web/web.cfg").read_text()
        host.ok("define", host.write("web.cfg", f"{text}\nmaxvcpus = 2\n"))
        host.ok("start", "web")
        with watch(host, "web") as console:
            console.until(b"web login:", within_s=LOGIN_S)
        wait_until(lambda: host.run("agent", "web").code == 0, LOGIN_S, "the agent to answer")
        told = host.json("agent", "web")
        assert "guest-fsfreeze-freeze" in told["commands"], told
        assert "Debian" in told["system"], told
        assert any("127.0.0.1/8" in card["addresses"] for card in told["interfaces"]), told
        host.ok("set-time", "web")
        assert needs_recovery(host, "default/web")
        backup(host, tmp_path)
        made = host.json("snapshot", "create", "web", "quiet")
        assert made["result"]["quiesced"] is True, made
        assert not needs_recovery(host, "default/web+quiet")
        assert host.json("agent", "web")["answers"]
        # Each of them ends once the agent has told that it is so.
        host.ok("vcpu-set", "web", "2")
        host.ok("vcpu-set", "web", "1")
        assert [row["flags"] == "--p" for row in host.json("vcpu-list", "web")["vcpus"]] == [False, True]
        host.ok("destroy", "web")
        host.ok("snapshot", "delete", "web", "quiet")


def backup(host: Host, tmp_path: Path) -> None:
    made = host.json("backup", "create", "web", "--to", str(tmp_path / "backups"))["result"]
    assert made["consistency"] == "filesystem", made
    host.ok("restore-backup", made["backup"], "--name", "restored")
    assert not needs_recovery(host, "default/restored-xvda")


def needs_recovery(host: Host, volume: str) -> bool:
    """Whether the file system that fills it is in use, and would replay its journal: not while it is frozen."""
    found = host.json("volume", "info", volume)
    start = host.scratch / "start.raw"
    words = ["qemu-img", "dd", "-U", "-f", found["format"], "-O", "raw", "bs=4096", "count=1"]
    subprocess.run([*words, f"if={found['path']}", f"of={start}"], check=True, timeout=60)
    place = SUPERBLOCK + FEATURES
    return bool(int.from_bytes(start.read_bytes()[place : place + 4], "little") & NEEDS_RECOVERY)
