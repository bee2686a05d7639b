"""``wirt security-group`` as a user types it: groups that last, and guests whose rules follow."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage
from wirt.sandbox import facts

from .conftest import give_facts
from .guests import fake, pvh
from .host import Host, a_host

IN_WEB = 'vif = ["bridge=wirtbr0,groups=web"]'


def rules(host: Host, name: str) -> list[str]:
    found: list[str] = host.json("security-group", "info", name)["rules"]
    return found


def test_a_group_is_made_changed_shown_and_destroyed_and_outlives_the_daemon(fake_host: Host) -> None:
    host = fake_host
    host.ok("security-group", "create", "web", "--allow", "in:tcp:443,80", "in:icmp", "--description", "the shop")
    host.ok("security-group", "create", "db", "--allow", "in:tcp:5432:from=group:web")
    host.ok("security-group", "allow", "web", "in:tcp:22:from=10.0.0.0/8")
    host.ok("security-group", "revoke", "web", "2")
    host.kill9()
    host.start()
    assert rules(host, "web") == ["in:tcp:80,443", "in:tcp:22:from=10.0.0.0/8"]
    listed = host.ok("security-group", "list").out.splitlines()
    assert [line.split()[0] for line in listed] == ["Name", "db", "web"]
    assert "groups      : db" in host.ok("security-group", "info", "web").out
    assert "rules of db" in host.fails("security-group", "destroy", "web")
    host.ok("security-group", "set", "db", "--allow")
    host.ok("security-group", "destroy", "web")
    assert "no security group web" in host.fails("security-group", "info", "web")
    host.ok("security-group", "destroy", "db")
    assert host.json("security-group", "list")["groups"] == []


def test_what_is_wrong_is_told_with_its_column_and_nothing_is_made(fake_host: Host) -> None:
    host = fake_host
    told = host.fails("security-group", "create", "web", "--allow", "in:icmp", "in:tcp:22,99999")
    assert "'in:tcp:22,99999', column 11: expected a port from 1 to 65535" in told
    assert "hint: a rule is" in told
    assert "is not there: wob" in host.fails("security-group", "create", "web", "--allow", "in:any:from=group:wob")
    assert "no name of a security group" in host.fails("security-group", "create", "a b")
    assert host.json("security-group", "list")["groups"] == []


def test_a_domain_holds_its_groups_also_when_it_is_off(fake_host: Host) -> None:
    host = fake_host
    config = host.write("web.cfg", fake("web", IN_WEB))
    told = host.fails("create", config)
    assert "security group web" in told
    assert "wirt security-group create" in told
    assert host.names() == []
    host.ok("security-group", "create", "web")
    host.ok("define", config)
    assert "named by web" in host.fails("security-group", "destroy", "web")
    assert host.json("security-group", "info", "web")["domains"] == ["web"]
    host.ok("undefine", "web")
    host.ok("security-group", "destroy", "web")


def test_changes_are_told_as_events(fake_host: Host) -> None:
    host = fake_host
    host.ok("security-group", "create", "web")
    process = host.spawn("wirt", "-o", "json", "events", "--after", "0", stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["kind"] == "security-group":
                break
        assert (event["data"]["name"], event["data"]["what"]) == ("web", "created")
    finally:
        process.kill()
        process.communicate(timeout=30)


@pytest.fixture
def namespace() -> Iterator[str]:
    if not facts.may_be_root():
        pytest.skip("needs root with CAP_SYS_ADMIN to make a network namespace: sudo make test")
    name = f"wirt-groups-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], timeout=30, check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], timeout=30, check=True)


@pytest.mark.real
@pytest.mark.root
def test_a_running_guests_rules_follow_its_groups_at_once_and_hold_without_the_daemon(
    namespace: str, tmp_path: Path, qemu_facts: Path, tiny: TinyImage
) -> None:
    prefix = ("nsenter", f"--net=/run/netns/{namespace}")

    def ruleset() -> str:
        words = [*prefix, "nft", "list", "ruleset"]
        return subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout

    with a_host(give_facts(tmp_path / "home", qemu_facts), tmp_path, prefix=prefix) as host:
        host.ok("security-group", "create", "web", "--allow", "in:tcp:8123")
        host.ok("create", "-p", host.write("web.cfg", pvh(tiny, "web", vif="ip=10.219.0.5,groups=web")))
        assert "8123" in ruleset()
        host.ok("security-group", "set", "web", "--allow", "in:tcp:8456")
        after = ruleset()
        assert "8456" in after
        assert "8123" not in after
        host.kill9()
        assert "8456" in ruleset()
        host.start()
        host.ok("security-group", "allow", "web", "in:tcp:8789")
        both = ruleset()
        assert "8456" in both
        assert "8789" in both
        findings = {each["what"]: each for each in host.json("audit", "web")["domains"][0]["findings"]}
        assert findings["vif 0 rules"]["expected"] == "no spoofing, group web"
        assert findings["vif 0 rules"]["verdict"] == "ok"
        assert "named by web" in host.fails("security-group", "destroy", "web")
        host.ok("destroy", "web")
        host.ok("security-group", "destroy", "web")
        assert host.json("security-group", "list")["groups"] == []
