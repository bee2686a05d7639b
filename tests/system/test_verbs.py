"""Every verb that needs no real guest, as a user types it."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from .guests import Watch, fake
from .host import Host, wait_until


@pytest.fixture
def host(shared_fake_host: Host) -> Iterator[Host]:
    yield shared_fake_host
    shared_fake_host.tidy()


def create(host: Host, name: str, *words: str, more: str = "") -> None:
    host.ok("create", host.write(f"{name}.cfg", fake(name, more)), *words)


def test_a_created_domain_is_listed_as_xl_lists_it_and_destroy_leaves_nothing(host: Host) -> None:
    assert host.ok("create", host.write("web.cfg", fake("web", "vcpus = 2"))).out.startswith("web is running")
    lines = host.ok("list").out.splitlines()
    assert re.fullmatch(r"Name +ID +Mem VCPUs\tState\tTime\(s\)", lines[0])
    assert re.match(r"Domain-0 +0 +\d+ +\d+ +r----- +\d", lines[1])
    assert re.match(r"web +\d+ +128 +2 +-b---- +0\.0$", lines[2])
    domain = host.domain("web")
    assert domain["uuid"] in host.ok("list", "-v").out
    [long] = host.json("list", "-l", "web")
    assert long["config"]["vcpus"] == 2
    assert long["text"].strip() == fake("web", "vcpus = 2").strip()
    host.ok("destroy", "web")
    assert len(host.ok("list", "--all").out.splitlines()) == 2


def test_a_domain_is_found_by_name_number_and_uuid(host: Host) -> None:
    create(host, "web")
    domid = host.ok("domid", "web").out.strip()
    number = host.domain("web")["uuid"]
    assert host.ok("domname", domid).out == "web\n"
    assert host.ok("domname", number).out == "web\n"
    for ref in ("web", domid, number):
        host.ok("pause", ref)
        host.ok("unpause", ref)
    assert "no domain nosuch" in host.fails("destroy", "nosuch")
    assert "Domain-0 is the host itself" in host.fails("destroy", "0")
    host.ok("destroy", number)


def test_numbers_grow_and_are_never_given_twice(host: Host) -> None:
    seen = []
    for _ in range(3):
        create(host, "web")
        seen.append(int(host.ok("domid", "web").out))
        host.ok("destroy", "web")
    assert seen == sorted(set(seen))


def test_pause_and_unpause_show_in_the_state(host: Host) -> None:
    create(host, "web", "-p")
    assert host.domain("web")["flags"] == "--p---"
    assert host.run("wait", "web", "--until", "running", "--timeout", "0.2").code == 1
    host.ok("unpause", "web")
    assert host.domain("web")["state"] == "running"
    host.ok("wait", "web", "--until", "running", "--timeout", "20")
    host.ok("pause", "web")
    assert host.domain("web")["flags"] == "--p---"
    assert "wirt unpause web" in host.fails("shutdown", "web")
    host.ok("destroy", "web")


def test_a_defined_domain_stays_until_it_is_undefined(host: Host) -> None:
    host.ok("define", host.write("web.cfg", fake("web")))
    assert "web" not in host.ok("list").out
    assert re.search(r"^web +- +128 +1 +------", host.ok("list", "--all").out, re.MULTILINE)
    assert "it has no ID" in host.fails("domid", "web")
    host.ok("start", "web", "-p")
    assert "wirt shutdown web" in host.fails("undefine", "web")
    assert "already" in host.fails("start", "web")
    host.ok("unpause", "web")
    host.ok("shutdown", "-w", "web")
    assert host.domain("web")["state"] == "off"
    assert "wirt start web" in host.fails("pause", "web")
    host.ok("undefine", "web")
    host.assert_nothing_left()


def test_a_reboot_is_a_new_run_of_the_same_domain(host: Host) -> None:
    create(host, "web")
    before = host.domain("web")
    host.ok("reboot", "-w", "web")
    host.ok("wait", "web", "--until", "running", "--timeout", "20")
    after = host.domain("web")
    assert after["uuid"] == before["uuid"]
    assert after["domid"] > before["domid"]
    host.ok("shutdown", "-w", "web")
    host.assert_nothing_left()


def test_a_new_name_is_the_only_one_it_answers_to(host: Host) -> None:
    create(host, "web")
    create(host, "db")
    host.ok("rename", "web", "shop")
    assert "already" in host.fails("rename", "shop", "db")
    assert sorted(host.names()) == ["db", "shop"]
    host.fails("domid", "web")
    create(host, "web")
    host.ok("destroy", "web", "db", "shop")


@pytest.mark.parametrize("name", ["x/y", "two words", "5", "Domain-0", "", ".hidden", "a,b", "l" * 129])
def test_no_domain_gets_a_name_that_it_could_not_be_created_with(host: Host, name: str) -> None:
    create(host, "web")
    host.fails("rename", "web", name)
    host.fails("create", host.write("bad.cfg", fake(name)))
    assert host.names() == ["web"]
    host.ok("destroy", "web")


def test_words_on_the_command_line_overrule_the_file(host: Host) -> None:
    path = host.write("web.cfg", fake("web"))
    host.ok("create", path, "name=db", "memory=256", "vcpus=3", 'on_crash="preserve"')
    domain = host.domain("db")
    assert (domain["memory_mib"], domain["vcpus"]) == (256, 3)
    [long] = host.json("list", "-l", "db")
    assert 'on_crash = "preserve"' in long["text"]
    host.ok("destroy", "db")


def test_a_configuration_is_read_from_standard_input(host: Host) -> None:
    host.ok("create", "-", stdin=fake("web"))
    assert host.names() == ["web"]
    host.ok("destroy", "web")


def test_a_dry_run_tells_the_plan_and_does_nothing(host: Host) -> None:
    before = host.json("list")["revision"]
    plan = host.ok("create", "-n", host.write("web.cfg", fake("web")), "-o", "json").json
    assert plan["config"]["name"] == "web"
    assert plan["plan"]["memory_mib"] == 128
    assert plan["command"][0] == "fake"
    assert host.json("list")["revision"] == before, "nothing may have happened"
    host.assert_nothing_left()


def test_uptime_and_vcpu_list_have_a_row_for_each(host: Host) -> None:
    create(host, "web", more="vcpus = 2")
    rows = host.ok("vcpu-list", "web").out.splitlines()
    assert [row.split()[0] for row in rows] == ["Name", "web", "web"]
    assert [row.split()[2] for row in rows[1:]] == ["0", "1"]
    assert re.search(r"^web +\d+ +0:00:\d\d$", host.ok("uptime", "web").out, re.MULTILINE)
    host.ok("destroy", "web")
    assert "no domain" in host.fails("uptime", "web")


def test_a_foreground_create_returns_when_the_domain_has_ended(host: Host) -> None:
    path = host.write("web.cfg", fake("web"))
    with Watch(host, "create", "-F", path) as foreground:
        wait_until(lambda: host.names() == ["web"], 30, "the domain")
        host.ok("wait", "web", "--until", "running", "--timeout", "20")
        assert foreground.process.poll() is None
        host.ok("destroy", "web")
        assert foreground.end() == 0


def test_events_are_told_in_order_with_no_gap(host: Host) -> None:
    begin = host.json("list")["revision"]
    create(host, "web")
    host.ok("pause", "web")
    host.ok("destroy", "web")
    with Watch(host, "-o", "json", "events", "--after", str(begin)) as stream:
        stream.until(b'"state": "off"')
    events = [json.loads(line) for line in stream.output.splitlines() if line.endswith(b"}")]
    assert [event["seq"] for event in events] == list(range(begin + 1, begin + 1 + len(events)))
    states = [event["data"]["state"] for event in events if event["kind"] == "domain"]
    assert [state for i, state in enumerate(states) if states[i - 1 : i] != [state]] == [
        "paused",
        "running",
        "paused",
        "off",
    ]
    assert {event["domain"] for event in events} == {"web"}


def test_a_uuid_belongs_to_one_domain_and_all_zeros_to_the_host(host: Host) -> None:
    number = str(uuid.uuid4())
    create(host, "web", more=f'uuid = "{number}"')
    assert host.domain("web")["uuid"] == number
    assert "UUID" in host.fails("create", host.write("db.cfg", fake("db", f'uuid = "{number}"')))
    host.fails("create", host.write("zero.cfg", fake("zero", f'uuid = "{uuid.UUID(int=0)}"')))
    assert host.names() == ["web"]
    host.ok("destroy", "web")


def test_of_two_creates_of_one_name_at_once_exactly_one_wins(host: Host) -> None:
    path = host.write("web.cfg", fake("web"))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    both = [host.spawn("wirt", "create", path, **pipes) for _ in range(2)]
    told = [each.communicate(timeout=60) for each in both]
    assert sorted(each.returncode for each in both) == [0, 1], told
    loser = told[[each.returncode for each in both].index(1)][1].decode()
    assert "there is a domain called web already" in loser
    assert host.names() == ["web"]
    host.ok("destroy", "web")


def test_of_two_starts_of_one_domain_at_once_one_wins_and_its_run_stays(host: Host) -> None:
    host.ok("define", host.write("web.cfg", fake("web")))
    for _ in range(3):
        both = [
            host.spawn("wirt", "start", "web", stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
        ]
        told = [each.communicate(timeout=60) for each in both]
        assert sorted(each.returncode for each in both) == [0, 1], told
        assert host.domain("web")["state"] == "running"
        assert host.domain("web")["wanted"] == "on"
        host.ok("destroy", "web")


def test_a_guests_agent_tells_of_it_and_sets_its_clock(host: Host) -> None:
    create(host, "web")
    assert host.json("agent", "web")["system"] == "a fake guest"
    assert re.search(r"^system +: a fake guest$", host.ok("agent", "web").out, re.MULTILINE)
    assert "the clock of web is set to " in host.ok("set-time", "web").err
    host.ok("pause", "web")
    assert "wirt unpause web" in host.fails("agent", "web")
    host.ok("destroy", "web")
    create(host, "web", "guest_agent=0")
    assert "no guest agent" in host.fails("agent", "web")
    host.ok("destroy", "web")
