"""Backups of a real guest that never stops writing, killed and cancelled at any moment: the guest goes on, nothing
is left in it, and the next backup still knows all that has changed."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .guests import READY, pvh, watch
from .host import COMMAND_S, Host, wait_until

pytestmark = [pytest.mark.real, pytest.mark.long]
SEED = 20261128
TIMES = 20
MIB = 1024 * 1024
WRITER = (
    "while true; do dd if=/dev/urandom of=/dev/vda bs=4096 count=3 conv=notrunc,fsync"
    " seek=$((RANDOM % 8000)) 2>/dev/null; dd if=/dev/urandom of=/dev/vdb bs=4096 count=3 conv=notrunc,fsync"
    " seek=$((RANDOM % 3000)) 2>/dev/null; done & writer=$!"
)


def content(path: str, format_: str) -> bytes:
    raw = Path(path + ".compared")
    words = ["qemu-img", "convert", "-f", format_, "-O", "raw", path, str(raw)]
    subprocess.run(words, check=True, timeout=60)
    data = raw.read_bytes()
    raw.unlink()
    return data


def volume(host: Host, name: str) -> bytes:
    found = host.json("volume", "info", name)
    return content(found["path"], found["format"])


def disturb(host: Host, chance: random.Random, place: str) -> None:
    """Begin a backup and end it badly, at some moment."""
    rate = chance.choice(((), ("--rate", "4M")))
    words = ("backup", "create", "web", "--to", place, *rate, *chance.choice(((), ("--full",))))
    process = host.spawn("wirt", *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(chance.uniform(0.1, 2.0))
    if chance.random() < 0.5:
        host.kill9()
        host.start()
    else:
        for job in host.json("jobs")["jobs"]:
            if job["kind"] == "backup" and job["state"] in ("queued", "running"):
                host.run("jobs", "--cancel", job["id"])
    _, told = process.communicate(timeout=COMMAND_S)
    assert b"Traceback" not in told, told.decode()
    wait_until(lambda: all(each["finished"] for each in finished(host)), COMMAND_S, "the end of all jobs")
    assert not list(Path(place, "partial").iterdir())


def finished(host: Host) -> list[dict[str, bool]]:
    return [{"finished": job["state"] in ("done", "failed", "cancelled")} for job in host.json("jobs")["jobs"]]


def test_no_change_is_lost_whatever_ends_backups(real_host: Host, tiny: TinyImage, tmp_path: Path) -> None:
    host, chance = real_host, random.Random(SEED)
    host.ok("volume", "create", "default/a", "--size", "32M")
    host.ok("volume", "create", "default/b", "--size", "12M", "--format", "raw")
    place = str(tmp_path / "backups")
    disks = 'disk = ["default/a,,xvda,rw", "default/b,,xvdb,rw"]'
    host.ok("define", host.write("web.cfg", pvh(tiny, "web", vif="net=none", more=disks)))
    host.ok("start", "web")
    with watch(host, "web") as console:
        console.until(READY)
        console.does(WRITER)
        host.ok("backup", "create", "web", "--to", place)
    for _ in range(TIMES):
        disturb(host, chance, place)
        assert host.domain("web")["state"] == "running"
        if chance.random() < 0.3:
            made = host.json("backup", "create", "web", "--to", place)["result"]
            assert made["kind"] == "incremental", made
    with watch(host, "web") as console:
        console.until(READY)
        console.does("kill $writer; wait; sync")
    last = host.json("backup", "create", "web", "--to", place)["result"]
    assert last["kind"] == "incremental", last
    host.ok("destroy", "web")
    host.ok("restore-backup", last["backup"], "--name", "back")
    assert volume(host, "default/back-xvda") == volume(host, "default/a")
    assert volume(host, "default/back-xvdb") == volume(host, "default/b")
    host.ok("backup", "prune", "--from", place, "--keep-last", "1")
    host.ok("backup", "verify", last["backup"])
    words = ["qemu-img", "check", "-q", host.json("volume", "info", "default/a")["path"]]
    subprocess.run(words, check=True, timeout=60)
