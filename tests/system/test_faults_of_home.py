"""A home that can't be used is told as what it is, and nothing in it is changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.operations import records
from wirt.ports.clock import SystemClock
from wirt.ports.store import Put
from wirt.store.sqlite import open_sqlite_store

from .guests import fake
from .host import Host, a_host, program, wait_until

FAKE = {"WIRT_HYPERVISOR": "fake"}


def daemon_refuses(host: Host, *arguments: str) -> str:
    """What ``wirtd`` tells when it can't serve."""
    done = subprocess.run(
        [*host.prefix, *program("wirtd"), *arguments],
        capture_output=True,
        env=host.environment,
        timeout=60,
        check=False,
        text=True,
        cwd="/",
    )
    assert done.returncode == 1, done
    assert done.stderr.startswith("wirtd: "), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr


def digest(home: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.glob("state.db*")
        if path.suffix != ".lock"
    }


@pytest.fixture(scope="module")
def good_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a host with a defined domain, whose daemon has ended."""
    scratch = tmp_path_factory.mktemp("good")
    host = Host(scratch / "home", scratch, environment=FAKE)
    try:
        host.start()
        host.ok("define", host.write("web.cfg", fake("web")))
        assert host.stop() == 0
        return scratch / "home"
    finally:
        host.close()


@pytest.fixture
def ended(good_home: Path, tmp_path: Path) -> Iterator[Host]:
    """A copy of it, to be spoilt."""
    shutil.copytree(good_home, tmp_path / "home")
    host = Host(tmp_path / "home", tmp_path, environment=FAKE)
    yield host
    host.close()


def test_an_unspoilt_copy_is_served(ended: Host) -> None:
    ended.start()
    assert ended.names() == ["web"]


def test_a_damaged_state_is_not_served_and_not_touched(ended: Host) -> None:
    path = Path(ended.home.store)
    path.write_bytes(path.read_bytes()[:4000] + os.urandom(8000))
    before = digest(path.parent)
    told = daemon_refuses(ended)
    assert f"the store {path} can't be used" in told
    assert "nothing in it was changed" in told
    assert daemon_refuses(ended, "--background") == told
    command = ended.run("list", WIRT_NO_AUTOSTART="0")
    assert command.code == 1
    assert f"the store {path} can't be used" in command.err
    assert digest(path.parent) == before


@pytest.mark.parametrize("content", [b"", b"this is no database\n" * 100])
def test_a_state_that_is_no_store_is_not_overwritten(ended: Host, content: bytes) -> None:
    path = Path(ended.home.store)
    path.write_bytes(content)
    path.with_name("state.db-wal").unlink(missing_ok=True)
    assert f"the store {path} can't be used" in daemon_refuses(ended)
    assert path.read_bytes() == content


def test_the_state_of_a_newer_wirt_is_left_alone(ended: Host) -> None:
    path = Path(ended.home.store)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = digest(path.parent)
    told = daemon_refuses(ended)
    assert "it was written by a newer wirt" in told
    assert "install the newer wirt again" in told
    assert digest(path.parent) == before


async def put(path: Path, key: str, value: bytes) -> None:
    store = await open_sqlite_store(path, SystemClock())
    await store.commit(Put(key, value))
    await store.close()


@pytest.mark.parametrize(
    ("prefix", "value"),
    [
        (records.DOMAINS, b'{"v": 2, "shape": "of the future"}'),
        (records.INCARNATIONS, b'{"v": 1}'),
        (records.JOBS, b"no json"),
        (records.DOMAINS, b"[]"),
    ],
)
async def test_a_record_that_can_not_be_read_is_named(ended: Host, prefix: str, value: bytes) -> None:
    key = f"{prefix}00000000-0000-4000-8000-000000000000"
    await put(Path(ended.home.store), key, value)
    told = daemon_refuses(ended)
    assert key in told
    assert ("newer wirt" in told) == (b"future" in value)


def test_a_home_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    host = Host(tmp_path / "file" / "home", tmp_path, environment=FAKE)
    for way in ((), ("--background",)):
        told = daemon_refuses(host, *way)
        assert str(tmp_path / "file") in told
        assert "WIRT_HOME" in told


@pytest.mark.root
def test_a_home_that_can_not_be_written_is_refused(public_directory: Path, as_nobody: tuple[str, ...]) -> None:
    for made_before in (False, True):
        home = public_directory / f"home-{made_before}"
        if made_before:
            (home / "run" / "domains").mkdir(parents=True)
            (home / "log").mkdir()
            home.chmod(0o755)
        host = Host(home, public_directory, environment=FAKE, prefix=as_nobody)
        for way in ((), ("--background",)):
            told = daemon_refuses(host, *way)
            assert f"{home}" in told
            assert "Permission denied" in told
            assert "set WIRT_HOME to another directory" in told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("host = 'here'\nbridge", ["wirt.toml", "no TOML", "at end of document"]),
        ("hots = 'x'", ["wirt.toml", "hots", "there is no such setting", "host"]),
        ("host = 5", ["wirt.toml", "host", "a text in quotes"]),
        ("hypervisor = 'vmware'", ["wirt.toml", "vmware", "qemu or fake"]),
        ("bridge-address = 'here'", ["wirt.toml", "bridge-address", "10.219.0.1/24"]),
        ("\xff", ["wirt.toml", "can't be read"]),
    ],
)
def test_a_broken_settings_file_is_told_with_its_place(tmp_path: Path, text: str, words: list[str]) -> None:
    host = Host(tmp_path / "home", tmp_path)
    Path(host.home.state).mkdir()
    Path(host.home.state, "wirt.toml").write_bytes(text.encode("latin-1"))
    told = daemon_refuses(host)
    for word in words:
        assert word in told


def test_a_second_daemon_is_refused_and_the_first_serves_on(fake_host: Host) -> None:
    done = subprocess.run(
        program("wirtd"), env=fake_host.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"wirtd: a wirtd (process {fake_host.pid}) serves {fake_host.home.state} already"
    )
    fake_host.ok("list")


def test_what_a_dead_daemon_left_does_not_stop_the_next(fake_host: Host) -> None:
    fake_host.kill9()
    assert Path(fake_host.home.socket).exists(), "else this shows nothing"
    assert "wirtd does not answer" in fake_host.fails("list")
    fake_host.start()
    fake_host.ok("list")
    fake_host.kill9()
    Path(fake_host.home.socket).unlink()
    Path(fake_host.home.socket).write_text("no socket at all")
    assert "can't connect" in fake_host.fails("list") or "does not answer" in fake_host.fails("list")
    fake_host.start()
    fake_host.ok("list")


@pytest.mark.parametrize("name", ['a home, with blanks & commas; ümläuts \'and "quotes"', "long/" * 60])
def test_a_home_may_be_anywhere(tmp_path: Path, name: str) -> None:
    """A socket's own name may have 107 bytes."""
    with a_host(tmp_path / name, tmp_path, environment=FAKE) as host:
        host.ok("create", host.write("web.cfg", fake("web")))
        assert "ready" in host.ok("console", "--no-follow", "web").out
        assert host.json("info")["home"] == str(tmp_path / name).rstrip("/")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, with room for very little."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a file system: sudo make test")
    directory = tmp_path / "small"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0755", "tmpfs", directory], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a tmpfs ({mounted.stderr.decode().strip()}): run it as root")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True, timeout=30)


def fill(directory: Path) -> Path:
    """A file that takes all the room there is."""
    path = directory / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return path
    return path


@pytest.mark.root
def test_a_full_file_system_is_told_and_nothing_is_half_done_or_forgotten(
    small_disk: Path, tmp_path: Path
) -> None:
    with a_host(small_disk / "home", tmp_path, environment=FAKE) as host:
        config = host.write("web.cfg", fake("web"))
        host.ok("create", host.write("first.cfg", fake("first")))
        filler = fill(small_disk)
        told = host.fails("create", config)
        assert "can't be written" in told
        assert "hint: nothing was written; see that there is room" in told
        host.fails("define", config)
        assert host.names() == ["first"], "what needs no room still works"
        host.run("shutdown", "first")
        filler.unlink()
        host.ok("create", config)
        wait_until(lambda: host.names() == ["web"], 30, "the guest's end to be followed up")


@pytest.mark.root
def test_a_daemon_does_not_start_on_a_full_file_system_and_says_so(small_disk: Path, tmp_path: Path) -> None:
    host = Host(small_disk / "home", tmp_path, environment=FAKE)
    filler = fill(small_disk)
    for way in ((), ("--background",)):
        told = daemon_refuses(host, *way)
        assert str(small_disk) in told
        assert "No space left on device" in told or "disk is full" in told
    filler.unlink()
    host.start()
    host.ok("list")
    assert host.stop() == 0
