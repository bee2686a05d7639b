"""``script=``: a program of the administrator's plugs a card in, in wirt's place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wirt.model.errors import Unavailable
from wirt.network import HostNetwork, scripts
from wirt.network.links import index_of
from wirt.plan.nics import NicPlan
from wirt.plan.scripts import read_script, script_path

from .namespace import run
from .worlds import card, devices

pytestmark = pytest.mark.root

INTO_BRIDGE = 'test "$1" = offline || ip link set "$vif" master "$bridge"\n'


def script(tmp_path: Path, text: str = "") -> tuple[str, Path]:
    """A script that writes down how it was called, and then does ``text``; and where it writes that."""
    told, path = tmp_path / "told", tmp_path / "vif-own"
    said = '"$1" "$2" "$vif" "$bridge" "$mac" "$ip" "$mtu" "$XENBUS_TYPE"'
    path.write_text(f"#!/bin/sh\nprintf '%s|' {said} >> {told}\necho >> {told}\n{text}")
    path.chmod(0o755)
    return str(path), told


def scripted(path: str, **changes: object) -> NicPlan:
    values: dict[str, object] = {"script": path, "bridge": "other", "addresses": ("192.0.2.7",), "mtu": 1400}
    return replace(card(), **{**values, **changes})  # type: ignore[arg-type]


async def test_a_script_finds_the_card_in_its_environment(network: HostNetwork, tmp_path: Path) -> None:
    run("ip", "link", "add", "other", "type", "bridge")
    path, told = script(tmp_path, INTO_BRIDGE)
    plugged = await network.plug(scripted(path))
    assert devices()["vif1.0"]["master"] == "other" and "UP" in devices()["vif1.0"]["flags"]
    assert plugged.script is not None and read_script(plugged.script.written()) == plugged.script
    await network.offline(plugged.script)
    await network.unplug(plugged)
    about = "type_if=vif|vif1.0|other|00:16:3e:00:00:01|192.0.2.7|1400|vif|"
    assert told.read_text().splitlines() == [f"online|{about}", f"offline|{about}"]


async def test_a_script_may_leave_a_card_unbridged_only_without_a_filter(
    network: HostNetwork, tmp_path: Path
) -> None:
    path, told = script(tmp_path)
    with pytest.raises(Unavailable, match="into no bridge") as caught:
        await network.plug(scripted(path))
    assert "antispoof=0" in str(caught.value.hint)
    assert index_of("vif1.0") is None
    assert [line.partition("|")[0] for line in told.read_text().splitlines()] == ["online", "offline"]

    free = scripted(path)
    plugged = await network.plug(replace(free, policy=replace(free.policy, antispoof=False)))
    assert "master" not in devices()["vif1.0"]
    await network.unplug(plugged)


async def test_a_script_that_fails_is_quoted_and_leaves_nothing(network: HostNetwork, tmp_path: Path) -> None:
    path, _ = script(tmp_path, 'echo "no switch $bridge \033[2J here" >&2; exit 3\n')
    with pytest.raises(Unavailable, match=r"it ended with 3: no switch other \\x1b\[2J here"):
        await network.plug(scripted(path))
    assert index_of("vif1.0") is None


async def test_a_script_that_is_not_there_is_an_error_before_anything_is_left(network: HostNetwork) -> None:
    with pytest.raises(Unavailable, match="can't be started: No such file"):
        await network.plug(scripted("/nowhere/vif-own"))
    assert index_of("vif1.0") is None


async def test_a_script_that_hangs_is_named_and_ended_with_all_that_it_started(
    network: HostNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much longer it may take than the kernel."""
    monkeypatch.setattr(scripts, "DEADLINE_S", 1.0)
    monkeypatch.setattr("wirt.network.host._DEADLINE_S", 0.1)
    pids = tmp_path / "pids"
    path, _ = script(tmp_path, f'test "$1" = offline || {{ sleep 300 & echo $! > {pids}; wait; }}\n')
    with pytest.raises(Unavailable, match=f"{path} online .* took longer than 1 s"):
        await network.plug(scripted(path))
    assert index_of("vif1.0") is None
    state = Path(f"/proc/{int(pids.read_text())}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_xls_names_of_scripts_are_understood() -> None:
    assert script_path(None) is script_path("vif-bridge") is None
    assert script_path("vif-openvswitch") == "/etc/xen/scripts/vif-openvswitch"
    assert script_path("/opt/vif") == "/opt/vif"
