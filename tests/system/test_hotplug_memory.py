"""Memory of a real guest that runs: plugged in, used, and there still after a new wirtd, a save and a move."""

from __future__ import annotations

from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .guests import READY, ask, port_of, pvh, watch
from .host import Host, wait_until
from .test_moves import two

__all__ = ["two"]

pytestmark = pytest.mark.real

SIZE, MORE = 96, 256
WITHIN_S = 90.0


def begin(host: Host, tiny: TinyImage) -> None:
    host.ok(
        "create", host.write("web.cfg", pvh(tiny, "web", more=f'hotplug_memory = {MORE}\non_crash = "preserve"'))
    )
    with watch(host, "web") as console:
        console.until(READY)


def seen(host: Host) -> int:
    """MiB that the guest counts as its own."""
    told = dict(word.split("=") for word in ask(port_of(host, "web"), "wirt stat").split() if "=" in word)
    return int(told["mem_kb"]) // 1024


def limit(host: Host) -> int:
    """MiB that the run may take."""
    pid = host.domain("web")["pid"]
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        for file in (f"/sys/fs/cgroup{path}/memory.max", f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"):
            if (controllers == "memory" or number == "0") and Path(file).exists():
                return int(Path(file).read_text()) // MIB
    pytest.skip("needs control groups with a limit of memory")


def hold(host: Host, mib: int) -> None:
    """As soon as the guest's drivers are at work, and it tells that it has so much to give."""
    wait_until(lambda: host.run("mem-set", "web", str(mib)).code == 0, WITHIN_S, "its drivers to be at work")


def plug(host: Host, mib: int) -> None:
    hold(host, mib)
    wait_until(lambda: host.json("memory", "plan")["guests"][0]["has"] == mib, WITHIN_S, "the guest to take it")


def test_a_guest_gets_memory_while_it_runs_and_gives_it_back_whatever_becomes_of_wirtd(
    real_host: Host, tiny: TinyImage
) -> None:
    begin(real_host, tiny)
    had, most = seen(real_host), limit(real_host)
    assert "wirt mem-max web raises the most" in real_host.fails("mem-set", "web", "288")
    assert f"from {SIZE} to {SIZE + MORE} MiB" in real_host.fails("mem-max", "web", "1g")
    real_host.ok("mem-max", "web", "288")
    plug(real_host, 288)
    assert seen(real_host) >= had + 180
    assert limit(real_host) == most + 192
    assert "ok=1" in ask(port_of(real_host, "web"), "wirt dirty 140 4"), "more than it was started with"
    real_host.kill9()
    real_host.start()
    assert "ok=1" in ask(port_of(real_host, "web"), "wirt mem-verify")
    assert "ok=1" in ask(port_of(real_host, "web"), "wirt dirty 1 0")
    hold(real_host, SIZE + 32)
    wait_until(lambda: seen(real_host) < had + 100, WITHIN_S, "the guest to give it back")
    assert real_host.domain("web")["memory_mib"] == SIZE + 32


@pytest.mark.long
def test_a_guest_moves_there_and_back_and_is_saved_with_all_that_was_plugged_in(
    two: tuple[Host, Host], tiny: TinyImage, tmp_path: Path
) -> None:
    a, b = two
    begin(a, tiny)
    a.ok("mem-max", "web", "320")
    plug(a, 320)
    assert "ok=1" in ask(port_of(a, "web"), "wirt dirty 200 4")
    version = tuple(map(int, a.json("info")["hypervisor_version"].split(".")[:2]))
    if version < (9, 0):
        assert "would lose some of its memory" in a.fails("migrate", "web", "b")
    else:
        for source, target in ((a, b), (b, a)):
            source.ok("migrate", "web", target.json("info")["host"])
            assert "ok=1" in ask(port_of(target, "web"), "wirt mem-verify")
            assert limit(target) >= 320
    file = str(tmp_path / "web.saved")
    a.ok("save", "web", file)
    a.ok("restore", file)
    assert "ok=1" in ask(port_of(a, "web"), "wirt mem-verify")
    a.ok("mem-max", "web", str(SIZE + MORE))
    plug(a, SIZE + MORE)
    a.ok("destroy", "web")
