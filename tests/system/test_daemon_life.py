"""``wirtd`` as it is started, asked to end, and run by people who are not root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .conftest import NOBODY, give_facts
from .guests import READY, Watch, ask, fake, hvm, port_of, pvh, watch
from .host import END_S, Host, a_host, program, wait_until


def test_in_the_background_it_returns_once_it_serves(tmp_path: Path) -> None:
    host = Host(tmp_path / "home", tmp_path, environment={"WIRT_HYPERVISOR": "fake"})
    try:
        started = host.spawn("wirtd", "--background", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        told = started.communicate(timeout=60)
        assert (started.returncode, *told) == (0, b"", b"")
        assert host.serves()
        host.ok("create", host.write("web.cfg", fake("web")))
        again = host.spawn("wirtd", "--background", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert b"serves" in again.communicate(timeout=60)[1]
        assert again.returncode == 1
        pid = host.pid
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: pid not in host.processes(), END_S, "its end")
        assert not Path(host.home.socket).exists()
        assert "ended; guests go on" in Path(host.home.log).read_text()
    finally:
        host.close()


def test_a_command_that_finds_no_daemon_starts_one_and_many_start_but_one(tmp_path: Path) -> None:
    environment = {"WIRT_HYPERVISOR": "fake", "WIRT_NO_AUTOSTART": "0"}
    host = Host(tmp_path / "home", tmp_path, environment=environment)
    try:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        lists = [host.spawn("wirt", "list", **pipes) for _ in range(8)]
        told = [each.communicate(timeout=90) for each in lists]
        assert [each.returncode for each in lists] == [0] * 8, told
        assert list(host.processes()) == [host.pid]
    finally:
        host.close()


def test_asked_to_end_it_does_so_whatever_is_open(tmp_path: Path) -> None:
    """Consoles, event streams and waiting commands don't keep it; they are told."""
    host = Host(tmp_path / "home", tmp_path, environment={"WIRT_HYPERVISOR": "fake"})
    try:
        host.start()
        host.ok("create", host.write("web.cfg", fake("web")))
        words = (["console", "web"], ["events"], ["wait", "web", "--until", "off"])
        watches = [Watch(host, *each).__enter__() for each in words]
        try:
            watches[0].until(b"ready")
            wait_until(lambda: tells_of_a_pause(host, watches[1]), 120, "events to be told")
            os.kill(host.pid, signal.SIGINT)  # the other tests have it ended by SIGTERM
            assert host.ended() == 0
            for each in watches:
                assert each.end() == 1
                assert b"Traceback" not in each.errors()
                assert each.errors().startswith(b"wirt: "), each.errors()
        finally:
            for each in watches:
                each.__exit__(None, None, None)
    finally:
        host.close()


def tells_of_a_pause(host: Host, events: Watch) -> bool:
    """It tells of what is after it has begun."""
    host.ok("pause", "web")
    host.ok("unpause", "web")
    return b"paused" in events.output


def test_it_tells_systemd_when_it_serves(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        name = f"\0wirt-test-{os.getpid()}"
        notify.bind(name)
        notify.settimeout(60)
        environment = {"WIRT_HYPERVISOR": "fake", "NOTIFY_SOCKET": "@" + name[1:]}
        with a_host(tmp_path / "home", tmp_path, environment=environment, start=False) as host:
            told: list[bytes] = []
            listener = threading.Thread(target=lambda: told.append(notify.recv(100)))
            listener.start()
            host.start()
            listener.join(60)
            assert told == [b"READY=1"]


@pytest.fixture
def ordinary(request: pytest.FixtureRequest, public_directory: Path, qemu_facts: Path) -> Iterator[Host]:
    """The host of a user with nothing but directories of her own (XDG Base Directory Specification)."""
    root = os.geteuid() == 0
    prefix: tuple[str, ...] = request.getfixturevalue("as_nobody") if root else ()
    uid = NOBODY if root else os.geteuid()
    scratch = public_directory / "scratch"
    scratch.mkdir()
    environment = {
        "HOME": str(public_directory / "home"),
        "XDG_DATA_HOME": str(public_directory / "data"),
        "XDG_RUNTIME_DIR": str(public_directory / "runtime"),
    }
    for directory in environment.values():
        Path(directory).mkdir(mode=0o700)
    give_facts(public_directory / "data" / "wirt", qemu_facts)
    for path in public_directory.rglob("*"):
        os.chown(path, uid, -1)
    with a_host(None, scratch, environment=environment, prefix=prefix, uid=uid) as host:
        yield host


@pytest.mark.real
def test_an_ordinary_user_has_a_host_of_her_own(ordinary: Host, public_directory: Path, tiny: TinyImage) -> None:
    host = ordinary
    assert host.home.state == str(public_directory / "data" / "wirt")
    assert host.home.run == str(public_directory / "runtime" / "wirt")
    assert Path(host.home.socket).stat().st_mode & 0o077 == 0
    assert host.json("info")["networking"] == "user"
    host.ok("create", host.write("web.cfg", pvh(tiny, "web", vif="ip=10.0.2.15/24,forward=tcp:7")))
    domain = host.domain("web")
    assert domain["vifs"][0]["kind"] == "user", "without the right to a bridge"
    assert Path(f"/proc/{domain['pid']}").stat().st_uid == Path(host.home.socket).stat().st_uid
    with watch(host, "web") as console:
        console.until(READY)
    assert ask(port_of(host, "web"), "no root anywhere") == "no root anywhere"
    assert "bridge" in host.fails("create", host.write("b.cfg", pvh(tiny, "b", vif="bridge=nosuch0")))
    assert host.names() == ["web"]

    disk = Path(shutil.copy(tiny.disk, public_directory / "disk.qcow2"))
    config = host.write("disk.cfg", hvm(disk, "disk"))
    disk.chmod(0o600)
    if os.geteuid() == 0:
        told = host.fails("create", config)
        assert f"{disk}: permission denied" in told
        disk.chmod(0o644)
        told = host.fails("create", config)
        assert f"{disk}: is not writable" in told
        assert "make it writable for the user that runs wirtd, or give the disk access=ro" in told
        host.ok("create", "-p", host.write("ro.cfg", hvm(disk, "disk").replace("hda,rw", "xvda,ro")))
        host.ok("destroy", "disk")
    disk.chmod(0o666)
    host.ok("create", "-p", config)


@pytest.mark.root
def test_other_users_are_told_that_it_is_not_theirs(public_directory: Path, as_nobody: tuple[str, ...]) -> None:
    home = public_directory / "home"
    with a_host(home, public_directory, environment={"WIRT_HYPERVISOR": "fake"}) as host:
        command = [*as_nobody, *program("wirt"), "list"]
        done = subprocess.run(
            command, env=host.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1
        assert "you may not talk to the wirtd" in done.stderr
        assert "Traceback" not in done.stderr
