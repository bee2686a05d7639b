"""Guests move between two versions of QEMU, and keep their CPU; what would lose a feature is told before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .guests import READY, ask, port_of, pvh, silent, watch
from .host import Host, a_host
from .test_peers import free_port, pair

pytestmark = [pytest.mark.real, pytest.mark.long]

OLD_QEMU = Path(__file__).resolve().parents[2] / ".cache/qemu-7.2/usr/bin/qemu-system-x86_64"


@pytest.fixture
def old_and_new(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    if not OLD_QEMU.exists():
        pytest.skip("needs Debian 12's own QEMU 7.2: tools/setup/qemu-distribution.sh .cache/qemu-7.2")
    words = {name: {"WIRT_HOST": name, "WIRT_PEER_LISTEN": f"127.0.0.1:{free_port()}"} for name in ("old", "new")}
    words["old"]["WIRT_QEMU"] = str(OLD_QEMU)
    for name in words:
        (tmp_path / name).mkdir()
    first, second = tmp_path / "old", tmp_path / "new"
    with (
        a_host(first / "home", first, environment=words["old"]) as old,
        a_host(second / "home", second, environment=words["new"]) as new,
    ):
        pair(old, new)
        pair(new, old)
        yield old, new


def test_a_guest_of_the_new_qemu_goes_to_the_old_one_and_back(
    old_and_new: tuple[Host, Host], tiny: TinyImage
) -> None:
    old, new = old_and_new
    found = new.json("cpu", "baseline")
    assert found["hosts"] == ["new", "old"] and found["base"] == "x86-64-v3"
    lacks = {each["host"]: each["features"] for each in found["held_back"]}
    assert "rdseed" in lacks["old"]
    new.ok("create", new.write("most.cfg", silent(tiny, "most", more='cpu_model = "max"')))
    assert "rdseed" in new.fails("migrate", "most", "old")
    new.ok("destroy", "most")

    new.ok("create", new.write("web.cfg", pvh(tiny, "web", more=f'cpu_model = "{found["cpu_model"]}"')))
    with watch(new, "web") as console:
        console.until(READY)
    assert "ok=1" in ask(port_of(new, "web"), "wirt dirty 8 4")
    plan = new.json("migrate", "web", "old", "--dry-run")
    assert plan["possible"] and not any("CPU" in each["what"] for each in plan["remarks"]), plan
    new.ok("migrate", "web", "old")
    assert "ok=1" in ask(port_of(old, "web"), "wirt mem-verify")
    old.ok("migrate", "web", "new")
    assert "ok=1" in ask(port_of(new, "web"), "wirt mem-verify")
    new.ok("destroy", "web")
