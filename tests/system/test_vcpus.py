"""vCPUs of a real guest that runs: plugged in, used, taken offline, and the same after a new wirtd or a move."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .guests import READY, ask, port_of, pvh, watch
from .host import Host, wait_until
from .test_moves import two

__all__ = ["two"]

pytestmark = pytest.mark.real

ROOM = "vcpus = 1\nmaxvcpus = 3"
WITHIN_S = 60.0


def begin(host: Host, tiny: TinyImage, more: str = ROOM) -> None:
    host.ok("create", host.write("web.cfg", pvh(tiny, "web", more=more)))
    up(host)


def up(host: Host) -> None:
    with watch(host, "web") as console:
        console.until(READY)
    wait_until(lambda: host.json("agent", "web")["answers"], WITHIN_S, "the agent to answer")


def used(host: Host) -> int:
    """As the guest counts them."""
    told = dict(word.split("=") for word in ask(port_of(host, "web"), "wirt stat").split() if "=" in word)
    return int(told["cpus"])


def unused(host: Host) -> list[int]:
    rows = host.json("vcpu-list", "web")["vcpus"]
    return [row["index"] for row in rows if row["flags"] == "--p"]


def threads(host: Host) -> dict[str, int]:
    """Of its vCPUs, as QEMU names them and the host numbers them."""
    tasks = Path(f"/proc/{host.domain('web')['pid']}/task").iterdir()
    named = {(task / "comm").read_text().strip(): int(task.name) for task in tasks}
    return {name: thread for name, thread in sorted(named.items()) if name.startswith("CPU ")}


def test_a_guest_gets_a_vcpu_while_it_runs_and_leaves_it_again_whatever_becomes_of_wirtd(
    real_host: Host, tiny: TinyImage
) -> None:
    cpu = min(os.sched_getaffinity(0))
    begin(real_host, tiny, f'{ROOM}\ncpus = ["all", "{cpu}"]')
    assert used(real_host) == 1
    real_host.ok("vcpu-set", "web", "2")
    assert (used(real_host), unused(real_host)) == (2, [])
    (second,) = (thread for name, thread in threads(real_host).items() if name.startswith("CPU 1/"))
    assert os.sched_getaffinity(second) == {cpu}, "its pin was there before it"
    assert real_host.domain("web")["vcpus"] == 2
    real_host.kill9()
    real_host.start()
    said = real_host.ok("vcpu-set", "web", "1")
    assert "1 more stay in the run, unused" in said.err
    assert (used(real_host), unused(real_host)) == (1, [1])
    assert len(threads(real_host)) == 2, "QEMU has it still"
    real_host.ok("vcpu-set", "web", "2")
    assert (used(real_host), unused(real_host)) == (2, [])


@pytest.mark.long
def test_a_guest_moves_there_and_back_and_is_saved_with_all_that_was_plugged_in(
    two: tuple[Host, Host], tiny: TinyImage, tmp_path: Path
) -> None:
    a, b = two
    begin(a, tiny)
    assert "ok=1" in ask(port_of(a, "web"), "wirt dirty 8 4")
    a.ok("vcpu-set", "web", "3")
    a.ok("vcpu-set", "web", "2")
    a.ok("migrate", "web", "b")
    assert (used(b), unused(b), len(threads(b))) == (2, [2], 3)
    b.ok("vcpu-set", "web", "3")
    assert (used(b), unused(b)) == (3, [])
    b.ok("vcpu-set", "web", "1")
    b.ok("migrate", "web", "a")
    assert (used(a), unused(a), len(threads(a))) == (1, [1, 2], 3)
    assert "ok=1" in ask(port_of(a, "web"), "wirt mem-verify")
    a.ok("save", "web", str(tmp_path / "web.saved"))
    a.ok("restore", str(tmp_path / "web.saved"))
    assert (used(a), unused(a), len(threads(a))) == (1, [1, 2], 3)
    a.ok("vcpu-set", "web", "3")
    assert used(a) == 3
    assert "ok=1" in ask(port_of(a, "web"), "wirt mem-verify")
    a.ok("destroy", "web")


@pytest.mark.long
def test_a_snapshot_a_new_qemu_and_running_copies_have_all_that_was_plugged_in(
    real_host: Host, tiny: TinyImage
) -> None:
    real_host.ok("define", real_host.write("web.cfg", pvh(tiny, "web", more=ROOM)))
    real_host.ok("start", "web")
    up(real_host)
    assert "ok=1" in ask(port_of(real_host, "web"), "wirt dirty 8 4")
    real_host.ok("vcpu-set", "web", "3")
    real_host.ok("vcpu-set", "web", "2")
    real_host.ok("snapshot", "create", "web", "then", "--memory")
    real_host.ok("refresh", "web")
    assert (used(real_host), unused(real_host), len(threads(real_host))) == (2, [2], 3)
    real_host.ok("vcpu-set", "web", "1")
    real_host.ok("snapshot", "revert", "web", "then", "--force")
    assert (used(real_host), unused(real_host), len(threads(real_host))) == (2, [2], 3)
    assert "ok=1" in ask(port_of(real_host, "web"), "wirt mem-verify")
    (copy,) = (each["name"] for each in real_host.json("fork", "web")["result"]["domains"])
    rows = real_host.json("vcpu-list", copy)["vcpus"]
    assert [row["flags"] == "--p" for row in rows] == [False, False, True]
    assert "ok=1" in ask(port_of(real_host, copy), "wirt mem-verify")
    for name in (copy, "web"):
        real_host.ok("destroy", name)
    real_host.ok("snapshot", "delete", "web", "then")
    for name in real_host.names():
        real_host.ok("undefine", name)
