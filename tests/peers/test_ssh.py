"""What goes wrong with ssh is told in its own words, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from wirt.model.errors import BadInput, PeerUnreachable
from wirt.peers.host import HostPeers
from wirt.peers.ssh import Ssh, Target, command, parse_target

from .sshd import Sshd
from .worlds import all_ended, app_of, at_socket, free_port, settings


def near(directory: Path, ssh: Ssh) -> HostPeers:
    return HostPeers(settings(directory, "near", listen=None, ssh=ssh))


async def failing(peers: HostPeers, target: str) -> PeerUnreachable:
    with pytest.raises(PeerUnreachable) as caught:
        await peers.reach(target)
    await all_ended()
    return caught.value


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("ssh://host2", Target("host2", None, None)),
        ("ssh://root@host2:2222", Target("host2", "root", 2222)),
        ("ssh://root@[2001:db8::1]:22", Target("2001:db8::1", "root", 22)),
        ("ssh://10.0.0.2/", Target("10.0.0.2", None, None)),
    ],
)
def test_a_host_is_named_as_in_a_url(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    "text",
    [
        "ssh://",
        "ssh:host",
        "ssh://-oProxyCommand=true",
        "ssh://-x@host",
        "ssh://a b",
        "ssh://host:0",
        "ssh://host:99999",
        "ssh://host/path",
        "ssh://user@",
        "ssh://host\n",
        "ssh://$(true)",
    ],
)
def test_what_is_no_host_is_refused_before_ssh_sees_it(text: str) -> None:
    with pytest.raises(BadInput):
        parse_target(text)


def test_ssh_asks_nothing_and_forwards_nothing() -> None:
    words = command(Ssh("ssh", "wirt"), Target("host2", "root", 2222), "/run/wirt/doors/a b")
    assert words[-3:] == ["--", "host2", "wirt relay '/run/wirt/doors/a b'"]
    assert {"BatchMode=yes", "ClearAllForwardings=yes", "ForwardAgent=no", "ControlPath=none"} <= set(words)


async def test_a_key_that_is_refused_is_told(sshd: Sshd, tmp_path: Path) -> None:
    error = await failing(near(tmp_path, Ssh(str(sshd.keyless), "wirt")), sshd.target)
    assert "Permission denied" in error.message
    assert "without a password" in str(error.hint)


async def test_a_host_that_ssh_does_not_know_is_told(sshd: Sshd, tmp_path: Path) -> None:
    error = await failing(near(tmp_path, Ssh(str(sshd.stranger), "wirt")), sshd.target)
    assert "Host key verification failed" in error.message
    assert "known to ssh" in str(error.hint)


async def test_a_host_where_nobody_listens_is_told(sshd: Sshd, tmp_path: Path) -> None:
    error = await failing(near(tmp_path, Ssh(str(sshd.ssh), "wirt")), f"ssh://127.0.0.1:{free_port()}")
    assert "Connection refused" in error.message


async def test_a_host_without_wirt_is_told(sshd: Sshd, tmp_path: Path) -> None:
    error = await failing(near(tmp_path, Ssh(str(sshd.ssh), "/nowhere/wirt")), sshd.target)
    assert "/nowhere/wirt" in error.message
    assert "remote-wirt" in str(error.hint)


async def test_a_host_where_no_wirtd_can_be_reached_is_told(sshd: Sshd, tmp_path: Path) -> None:
    error = await failing(near(tmp_path, Ssh(str(sshd.ssh), sshd.remote(tmp_path / "home"))), sshd.target)
    assert "wirtd does not answer" in error.message


async def test_a_machine_without_ssh_is_told(tmp_path: Path) -> None:
    error = await failing(near(tmp_path, Ssh("/nowhere/ssh", "wirt")), "ssh://host2")
    assert "/nowhere/ssh can't be run" in error.message


async def test_a_shell_that_prints_something_first_does_no_harm(sshd: Sshd, tmp_path: Path) -> None:
    home = tmp_path / "home"
    remote = f"echo hello; echo; {sshd.remote(home)}"
    async with at_socket(home / "run" / "wirtd.sock", app_of([], [])):
        peer = await near(tmp_path, Ssh(str(sshd.ssh), remote)).reach(sshd.target)
        assert peer.name == "far"
        await peer.close()
        await all_ended()


async def test_a_host_that_prints_without_end_is_not_listened_to(sshd: Sshd, tmp_path: Path) -> None:
    error = await failing(near(tmp_path, Ssh(str(sshd.ssh), "yes;")), sshd.target)
    assert "not as wirt does" in error.message
