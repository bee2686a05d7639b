"""A server that vanishes in the middle of what is done to a disk on it: whoever does not need it notices nothing,
the job ends in a bounded time and says why, and once the server is back nothing is lost and all works again."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.storage.kinds import an_export, no_server, run

from wirt.images.tiny import TinyImage

from . import api
from .conftest import give_facts
from .guests import silent
from .host import Host, a_host, wait_until
from .one_disk import holds, references, start, up, write

pytestmark = [pytest.mark.testhost, pytest.mark.root, pytest.mark.real]

ENDED = ("done", "failed", "cancelled")
BOUND_S = 400.0
"""By then every job has ended, with the server away all the time."""
SOON_S = 60.0
"""For what has nothing to do with the server. It takes some seconds in the test host."""


@pytest.fixture(scope="module")
def shared_host(tmp_path_factory: pytest.TempPathFactory, qemu_facts: Path, tiny: TinyImage) -> Iterator[Host]:
    """With the pool ``nfs``, and a domain ``other`` that has nothing to do with it."""
    scratch = tmp_path_factory.mktemp("faults")
    export = scratch / "export"
    export.mkdir()
    with (
        an_export(export) as source,
        a_host(give_facts(scratch / "home", qemu_facts), scratch) as host,
    ):
        host.ok("pool", "create", "nfs", "--type", "nfs", "--source", source)
        host.ok("create", host.write("other.cfg", silent(tiny, "other")))
        yield host
        host.tidy()
        host.ok("pool", "destroy", "nfs", "-y")


@pytest.fixture
def host(shared_host: Host) -> Iterator[Host]:
    yield shared_host
    if "web" in shared_host.names():
        if shared_host.domain("web")["state"] != "off":
            # A QEMU that waits for the server ends once that is back.
            wait_until(lambda: shared_host.run("destroy", "web").code == 0, BOUND_S, "the end of web")
        for each in shared_host.json("snapshot", "list", "web")["snapshots"]:
            shared_host.ok("snapshot", "delete", "web", each["name"])
        shared_host.ok("undefine", "web")
    for reference in references(shared_host):
        shared_host.ok("volume", "destroy", reference)


def jobs(host: Host) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.request(host.socket, "GET", "/v1/jobs").document["jobs"]
    return sorted(found, key=lambda job: job["created_at"])


def others_go_on(host: Host) -> None:
    """While somebody waits for the server."""
    for words in (("list",), ("jobs",), ("pause", "other"), ("unpause", "other"), ("info",)):
        begun = time.monotonic()
        host.ok(*words)
        took = time.monotonic() - begun
        assert took < SOON_S, f"wirt {' '.join(words)} took {took:.0f} s"


def server_gone_at(host: Host, step: str, *words: str) -> dict[str, Any]:
    """The job of ``words`` once it has ended. The server is gone from when it came to ``step`` until it had ended
    or failed: then what it did is undone, which waits for the server. Without a ``step`` it is gone from the
    start, and there may be no job: then it is empty."""
    known = {job["id"] for job in jobs(host)}
    process = host.spawn("wirt", *words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def job() -> dict[str, Any]:
        return next((job for job in jobs(host) if job["id"] not in known), {})

    def over() -> bool:
        return process.poll() is not None or job().get("state") in (*ENDED, "undoing")

    if step:
        wait_until(lambda: job().get("message", "").startswith(step) or over(), 100, step)
    with no_server():
        others_go_on(host)
        wait_until(over, BOUND_S, f"the end of {words}")
        others_go_on(host)
    _, said = process.communicate(timeout=BOUND_S)
    assert b"Traceback" not in said, said.decode()
    assert b"fault in wirt" not in said, said.decode()
    ended = job()
    wait_until(lambda: host.run("pool", "info", "nfs").code == 0, BOUND_S, "the pool to be there again")
    return ended


def sound(host: Host) -> None:
    for reference in references(host):
        volume = host.json("volume", "info", reference)
        if volume["format"] == "qcow2":
            words = ["qemu-img", "check", "-U", "-q", "-f", "qcow2", volume["path"]]
            done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
            assert done.returncode in (0, 3), done.stderr


def test_a_move_whose_server_vanishes_ends_and_the_guest_keeps_its_disk(host: Host, tiny: TinyImage) -> None:
    host.ok("volume", "create", "default/web", "--size", "24M", "--format", "raw")
    up(host, tiny, "default/web")
    write(host, 1, 0, 24)
    job = server_gone_at(host, "copying", "disk-move", "web", "xvda", "nfs/web", "--rate", "1M")
    assert job["state"] == "failed", job
    holds(host, 1, 0, 24)
    write(host, 2, 8)
    assert references(host) == ["default/web"]
    host.ok("disk-move", "web", "xvda", "nfs/web", "--format", "qcow2")
    holds(host, 2, 8)
    holds(host, 1, 9, 15)
    assert references(host) == ["nfs/web"]
    host.ok("destroy", "web")
    sound(host)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("stage", ("snapshot", "create", "web", "kept")),
        ("take", ("snapshot", "create", "web", "kept")),
        ("", ("volume", "resize", "nfs/web", "--size", "40M")),
        ("copy", ("backup", "create", "web", "--to", "BACKUPS")),
    ],
)
def test_whatever_is_done_to_a_disk_whose_server_vanishes_ends_and_works_afterwards(
    host: Host, tiny: TinyImage, tmp_path: Path, step: str, words: tuple[str, ...]
) -> None:
    host.ok("volume", "create", "nfs/web", "--size", "24M", "--format", "qcow2")
    up(host, tiny, "nfs/web")
    write(host, 1, 0, 24)
    words = tuple(str(tmp_path) if word == "BACKUPS" else word for word in words)
    job = server_gone_at(host, step, *words)
    assert host.domain("web")["state"] == "running"
    holds(host, 1, 0, 24)
    write(host, 2, 8)
    if not job or job["state"] != "done":
        assert not job or job["error"]["message"], job
        assert not job or "undoing" not in (job["error"]["hint"] or ""), job
        assert references(host) == ["nfs/web"]
        host.ok(*words)
    holds(host, 2, 8)
    holds(host, 1, 9, 15)
    host.ok("destroy", "web")
    sound(host)
    start(host)
    holds(host, 2, 8)
    holds(host, 1, 9, 15)


def state_of(host: Host, pool: str) -> tuple[str, str]:
    """And what is wrong with it."""
    found = next(each for each in host.json("pool", "list")["pools"] if each["name"] == pool)
    return found["state"], found.get("problem") or ""


def test_a_daemon_that_starts_while_the_server_is_away_serves_all_else_and_the_pool_once_it_is_back(
    host: Host, tiny: TinyImage
) -> None:
    host.ok("volume", "create", "nfs/web", "--size", "24M", "--format", "qcow2")
    up(host, tiny, "nfs/web")
    write(host, 1, 0, 24)
    with no_server():
        host.kill9()
        host.start()
        all_but_nfs_works(host, tiny, "not answer")
        assert host.domain("web")["state"] == "running"
    wait_until(lambda: state_of(host, "nfs")[0] == "ready", BOUND_S, "the pool to be there again")
    holds(host, 1, 0, 24)
    write(host, 2, 8)
    host.ok("destroy", "web")
    # As after a start of the machine itself: nothing is mounted.
    mount = str(Path(host.json("volume", "info", "nfs/web")["path"]).parent)
    host.stop()
    run("umount", mount)
    with no_server():
        host.start()
        all_but_nfs_works(host, tiny, "can't be reached")
        assert "can't be reached" in host.fails("start", "web")
    start(host)
    assert state_of(host, "nfs") == ("ready", "")
    holds(host, 2, 8)
    holds(host, 1, 9, 15)


def all_but_nfs_works(host: Host, tiny: TinyImage, reason: str) -> None:
    others_go_on(host)
    state, problem = state_of(host, "nfs")
    assert state == "unavailable"
    assert reason in problem
    assert state_of(host, "default") == ("ready", "")
    assert reason in host.fails("volume", "create", "nfs/more", "--size", "8M")
    host.ok("volume", "create", "default/else", "--size", "8M", "--format", "raw")
    host.ok("create", host.write("else.cfg", silent(tiny, "else", 'disk = ["default/else,,xvda,rw"]')))
    others_go_on(host)
    host.ok("destroy", "else")
    host.ok("volume", "destroy", "default/else")
