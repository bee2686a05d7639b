"""The jail of bootstrap installs, what installers say, and the devices that are written over: the real parts."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from wirt.images.bootstrap import device, grub, jail
from wirt.images.bootstrap.builder import SystemBuilder
from wirt.images.bootstrap.words import failure, stage
from wirt.model.errors import BadInput, NotFound, ResourceBusy, Shortage, Unavailable, WirtError
from wirt.model.units import GIB, MIB
from wirt.plan.bootstrap import BootstrapPlan, BootstrapWish, plan_bootstrap
from wirt.ports.bootstrap import Blank

NOBODY_THERE = "http://127.0.0.1:9/debian"
root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root; others need ids in /etc/subuid")


def plan(**changes: object) -> BootstrapPlan:
    words = {"distribution": "debian", "name": "web", "mirror": NOBODY_THERE, "size": GIB, **changes}
    return plan_bootstrap(BootstrapWish(**words), (), uuid.uuid4())  # type: ignore[arg-type]


def builder(tmp_path: Path) -> SystemBuilder:
    return SystemBuilder(tmp_path / "cache", tmp_path)


# The jail


def in_jail(scratch: Path, script: str) -> subprocess.CompletedProcess[str]:
    """``scratch`` is as private as a home is."""
    scratch.mkdir(mode=0o700, exist_ok=True)
    os.chown(scratch, jail.owner(), -1)
    command = [sys.executable, "-m", "wirt.images.bootstrap.jail", str(scratch), "sh", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@root
def test_in_the_jail_packages_scripts_have_what_they_need(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    done = in_jail(tmp_path / "s", "id -u; touch /mnt/f && chown 33:33 /mnt/f && stat -c %u /mnt/f; mkdir /mnt/d")
    assert done.stdout.split() == ["0", "33"], done.stderr
    owner = (tmp_path / "s/f").stat().st_uid
    assert owner == jail.ROOTS_BASE + 33, "outside it is nobody's"
    assert (tmp_path / "s/d").is_dir()


@root
@pytest.mark.parametrize(
    "attempt",
    [
        "touch /etc/wirt-was-here",
        "cat {secret}",
        "cat /etc/shadow",
        "touch {outside}/x",
        "kill -0 {pid}",
        "mknod /mnt/disk b 8 0 && cat /mnt/disk",
        "mount -o remount,rw /",
        "nsenter --mount=/proc/1/ns/mnt --target 1 touch /etc/wirt-was-here",
        "echo x >/proc/sys/kernel/core_pattern",
        "ls /root/",
    ],
)
def test_what_gets_out_of_hand_in_the_jail_reaches_nothing_of_the_host(tmp_path: Path, attempt: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    words = attempt.format(secret=secret, outside=tmp_path, pid=os.getpid())
    done = in_jail(tmp_path / "s", f"({words}) && echo reached")
    if attempt == "ls /root/":
        assert done.stdout.strip() == "reached", "it is there, and empty"
    else:
        assert "reached" not in done.stdout
    assert "secret" not in done.stdout
    assert not Path("/etc/wirt-was-here").exists()


@root
def test_all_in_the_jail_ends_with_who_started_it(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    os.chown(tmp_path / "s", jail.owner(), -1)
    word = f"{time.time_ns() % 10**8 + 10**8}"
    script = f"(setsid sleep {word} &) ; sleep {word}; true"
    process = subprocess.Popen(
        [sys.executable, "-m", "wirt.images.bootstrap.jail", str(tmp_path / "s"), "sh", "-c", script]
    )
    wait_until(lambda: len(having(word)) >= 3)
    process.kill()
    process.wait(20)
    wait_until(lambda: not having(word))


def having(word: str) -> list[int]:
    """Processes with a word in their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in command:
                found.append(int(entry.name))
    return found


def wait_until(so: object, within_s: float = 60.0) -> None:
    assert callable(so)
    deadline = time.monotonic() + within_s
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# An install that comes to nothing


@root
async def test_a_mirror_that_nobody_serves_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9/debian can't be reached") as told:
        await builder(tmp_path).build(plan(), scratch, lambda what, share: None)
    assert "--mirror" in str(told.value.hint)
    await builder(tmp_path).discard(scratch)
    assert list(tmp_path.iterdir()) == []


@root
async def test_a_cancelled_install_has_ended_its_processes_and_can_be_taken_away(tmp_path: Path) -> None:
    """Against a mirror that takes connections and never says a word."""
    silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(3600), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    scratch, asked = tmp_path / "scratch", asyncio.Event()

    word = f"web-{time.time_ns()}"

    def progress(what: str, share: float) -> None:
        if what == "asking the mirror":
            asked.set()

    made = plan(mirror=f"http://127.0.0.1:{port}/debian", packages=(word,))
    task = asyncio.create_task(builder(tmp_path).build(made, scratch, progress))
    async with asyncio.timeout(60):
        await asked.wait()
    assert having(word)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    silent.close()
    await builder(tmp_path).discard(scratch)
    assert not scratch.exists()
    wait_until(lambda: not having(word))


def test_a_program_that_is_missing_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="mmdebstrap") as told:
        builder(tmp_path).check(plan())
    assert "apt-get install" in str(told.value.hint)


async def test_a_key_that_is_not_there_is_told_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="/nowhere/key"):
        builder(tmp_path).check(plan(key="/nowhere/key"))


# What installers say


@pytest.mark.parametrize(
    ("lines", "kind", "words"),
    [
        (["E: Unable to locate package nginxx"], BadInput, "no package nginxx"),
        (["No match for argument: foo", "Error: Unable to find a match: foo"], BadInput, "no package foo"),
        (["No provider of 'foo' found."], BadInput, "no package foo"),
        (["Err:1 http://m x InRelease", "  Temporary failure resolving 'm'"], Unavailable, "can't be reached"),
        (["Curl error (28): Timeout was reached for http://m"], Unavailable, "can't be reached"),
        (["Error: Failed to download metadata for repo 'x'"], Unavailable, "can't be reached"),
        (
            ["Valid metadata not found", "Error message: Couldn't connect to server"],
            Unavailable,
            "can't be reached",
        ),
        (["Valid metadata not found at specified URL"], Unavailable, "no such packages"),
        (["E: The repository 'http://m x Release' does not have a Release file."], Unavailable, "no such release"),
        (["W: GPG error: NO_PUBKEY 648ACFD622F3D138", "E: x is not signed."], Unavailable, "not signed"),
        (["tar: x: Cannot write: No space left on device"], Shortage, "does not fit"),
        (["mke2fs: Could not allocate block in ext2 filesystem while writing"], Shortage, "does not fit"),
        (
            ["  - Curl error (7): Couldn't connect to server", "No match for argument: systemd"],
            Unavailable,
            "the mirror can't be reached",
        ),
        (['Error: There are no enabled repositories in "/etc".'], BadInput, "knows no place of packages"),
        (["something else"], Unavailable, "mmdebstrap failed: something else"),
        ([], Unavailable, "said nothing"),
        (["E: \x1b[2J" + "x" * 5000], Unavailable, "mmdebstrap failed"),
    ],
)
def test_why_an_installer_failed_is_told_by_its_words(lines: list[str], kind: type[WirtError], words: str) -> None:
    error = failure("mmdebstrap", lines, "the mirror")
    assert type(error) is kind
    assert words in error.message
    assert error.message.isprintable()
    assert len(error.message) < 1000


def test_progress_goes_up_as_the_installers_go_on() -> None:
    debian = [
        "I: running apt-get update...",
        "I: downloading packages with apt...",
        "I: extracting archives...",
        "I: installing essential packages...",
        "I: installing remaining packages inside the chroot...",
        "update-initramfs: Generating /boot/initrd.img-6.1",
        "I: cleaning package lists and apt cache...",
    ]
    shares = [found.share for line in debian if (found := stage(line))]
    assert len(shares) == len(debian)
    assert shares == sorted(shares)
    counted = stage("Installing: foo-1.0 [....done] (3/4)")
    assert counted is not None
    assert counted.share == 0.75
    assert stage("Selecting previously unselected package x.") is None


# Devices


def test_a_blank_file_is_blank_and_one_with_a_byte_at_either_end_is_not(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.touch()
    os.truncate(disk, 8 * MIB)
    assert device.look(str(disk)) == Blank(8 * MIB, empty=True)
    for place in (1080, 8 * MIB - 1):
        with disk.open("r+b") as file:
            file.seek(place)
            file.write(b"x")
        assert not device.look(str(disk)).empty
        device.wipe(str(disk))
        assert device.look(str(disk)).empty


def test_the_disk_that_this_system_runs_from_is_refused() -> None:
    rows = [row.split() for row in Path("/proc/self/mountinfo").read_text().splitlines()]
    sources = {row[row.index("-") + 2] for row in rows}
    disks = sorted(path for path in sources if path.startswith("/dev/") and Path(path).is_block_device())
    if not disks:
        pytest.skip("needs a block device that is mounted; there is none here")
    with pytest.raises(ResourceBusy, match="is mounted on"):
        device.look(disks[0])


def test_what_is_no_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        device.look(str(tmp_path / "absent"))
    with pytest.raises(BadInput, match="neither a file nor a block device"):
        device.look("/dev/null")


# GRUB


def test_a_partitioned_disk_is_read_back_as_planned(tmp_path: Path) -> None:
    made = plan(type="hvm")
    disk = tmp_path / "disk.raw"
    disk.touch()
    os.truncate(disk, GIB)
    try:
        loader = asyncio.run(grub.make(made, tmp_path, tmp_path / "cache"))
    except WirtError as error:
        pytest.skip(f"needs GRUB, installed or from apt: {error}")
    grub.install(made, loader, disk)
    table = json.loads(subprocess.run(["sfdisk", "--json", disk], capture_output=True, check=True).stdout)
    parts = table["partitiontable"]["partitions"]
    assert [(part["start"], part["size"]) for part in parts] == [(s.first_lba, s.sectors) for s in made.slices]
    assert disk.stat().st_size == GIB
    subprocess.run(["sfdisk", "--verify", disk], capture_output=True, check=True)
