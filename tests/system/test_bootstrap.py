"""``wirt bootstrap`` as a user has it: a real Debian from its mirror, started as both guest types."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from pathlib import Path

import pytest

from . import api
from .conftest import give_facts
from .guests import watch
from .host import PATIENCE, Host, a_host, wait_until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root; others need ids in /etc/subuid"),
]

INSTALL_S = 900.0 * PATIENCE
LOGIN_S = 400.0 * PATIENCE
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8c2tKcT2mOmT7xQ2pHcT2mOmT7xQ2pHcT2mOmT7xQ2 ann@example"


def left(host: Host) -> list[str]:
    """What is in the places where installs put things."""
    places = (Path(host.home.state, name) for name in ("bootstrap", "boot", "volumes"))
    return sorted(entry.name for place in places if place.is_dir() for entry in place.iterdir())


def install(host: Host, *words: str) -> None:
    done = host.run("bootstrap", "debian", *words, timeout_s=INSTALL_S)
    assert done.code == 0, done.err


@pytest.mark.long
@pytest.mark.real
def test_debian_boots_to_its_login_as_both_guest_types(tmp_path: Path, qemu_facts: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        pytest.fail("this test needs mmdebstrap: make setup (Debian: apt-get install mmdebstrap)", pytrace=False)
    key = tmp_path / "id.pub"
    key.write_text(f"{KEY}\n")
    user = ("--user", "ann", "--ssh-key", str(key), "--size", "2G")
    with a_host(give_facts(tmp_path / "home", qemu_facts), tmp_path) as host:
        install(host, "--into", str(tmp_path / "direct.raw"), *user, "--start")
        with watch(host, "direct") as console:
            console.until(b"direct login:", within_s=LOGIN_S)
        host.ok("destroy", "direct")
        install(host, "--into", "default/firmware", "--type", "hvm", *user, "--start")
        with watch(host, "firmware") as console:
            console.until(b"firmware login:", within_s=LOGIN_S)
        host.ok("destroy", "firmware")
        config = Path(host.home.state, "boot/firmware/firmware.cfg")
        host.ok("create", str(config), 'bios="ovmf"')
        with watch(host, "firmware") as console:
            console.until(b"firmware login:", within_s=LOGIN_S)
        host.ok("destroy", "firmware")
        assert not any(Path(host.home.state, "bootstrap").iterdir())


def test_a_mirror_out_of_reach_is_told_and_leaves_nothing(tmp_path: Path, qemu_facts: Path) -> None:
    with a_host(give_facts(tmp_path / "home", qemu_facts), tmp_path) as host:
        for into in ("default/web", str(tmp_path / "web.qcow2")):
            said = host.fails("bootstrap", "debian", "--into", into, "--mirror", "http://127.0.0.1:9/debian")
            assert "http://127.0.0.1:9/debian can't be reached" in said
            assert "--mirror" in said
        assert not (tmp_path / "web.qcow2").exists()
        assert left(host) == []


def test_a_plan_is_shown_and_nothing_is_done(tmp_path: Path, qemu_facts: Path) -> None:
    with a_host(give_facts(tmp_path / "home", qemu_facts), tmp_path) as host:
        words = ("bootstrap", "debian", "--into", "default/web", "--type", "hvm", "-n")
        shown = host.ok(*words, "--mirror", "http://127.0.0.1:9/debian")
        assert "partition root" in shown.out
        assert "mmdebstrap" in shown.out
        assert left(host) == []


def test_a_daemon_that_is_killed_takes_the_installer_with_it_and_the_next_one_cleans_up(
    tmp_path: Path, qemu_facts: Path
) -> None:
    word = f"wirt-test-{time.time_ns()}"
    with a_host(give_facts(tmp_path / "home", qemu_facts), tmp_path) as host, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        mirror = f"http://127.0.0.1:{silent.getsockname()[1]}/debian"
        request = {
            "distribution": "debian",
            "into": "default/web",
            "cwd": "/",
            "mirror": mirror,
            "packages": [word],
        }
        answer = api.request(host.socket, "POST", "/v1/bootstrap", request)
        assert answer.status == 202, answer
        wait_until(lambda: len(having(word)) > 0, 60 * PATIENCE, "the installer to run")
        host.kill9()
        wait_until(lambda: not having(word), 60 * PATIENCE, "the installer to end")
        host.start()
        path = f"/v1/jobs/{answer.document['id']}"
        wait_until(lambda: state(host, path) == "failed", 60 * PATIENCE, "the job to be undone")
        assert left(host) == []


def state(host: Host, path: str) -> object:
    return api.request(host.socket, "GET", path).document["state"]


def having(word: str) -> list[int]:
    """Processes with ``word`` in their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and word.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found
