"""A host with hundreds of domains, and a daemon that many talk to at once. All in memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .api import Answer, request
from .guests import fake
from .host import Host

MANY = 300
MOST_PER_DOMAIN = 5 * 2**20


@pytest.fixture
def host(shared_fake_host: Host) -> Iterator[Host]:
    yield shared_fake_host
    shared_fake_host.tidy()


def create(host: Host, number: int) -> Answer:
    body = {"text": fake(f"web-{number}"), "file": "web.cfg", "cwd": "/"}
    return request(host.socket, "POST", "/v1/domains?wait=1", body)


def memory_of(pid: int) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_hundreds_of_domains_can_be_created_listed_and_destroyed(host: Host) -> None:
    assert create(host, 0).document["state"] == "done"
    before = memory_of(host.pid)
    for number in range(1, MANY):
        assert create(host, number).document["state"] == "done"
    assert (memory_of(host.pid) - before) / MANY < MOST_PER_DOMAIN
    listed = host.json("list")["domains"]
    assert [domain["name"] for domain in listed] == ["Domain-0", *(f"web-{number}" for number in range(MANY))]
    assert len(host.ok("list").out.splitlines()) == MANY + 2
    assert len(host.ok("vcpu-list").out.splitlines()) > MANY
    host.ok("destroy", *(f"web-{number}" for number in range(MANY)))
    host.assert_nothing_left()


def test_two_hundred_lists_at_once_are_all_answered(host: Host) -> None:
    for number in range(20):
        create(host, number)
    with ThreadPoolExecutor(200) as threads:
        answers = list(threads.map(lambda _: request(host.socket, "GET", "/v1/domains"), range(200)))
    assert {answer.status for answer in answers} == {200}
    assert {len(answer.document["domains"]) for answer in answers} == {21}


def test_creates_that_come_all_at_once_all_succeed(host: Host) -> None:
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda number: create(host, number), range(150)))
    assert [answer.document.get("state") for answer in answers] == ["done"] * 150
    assert len({answer.document["result"]["domid"] for answer in answers}) == 150


def test_a_job_can_be_asked_for_after_many_others_have_ended(host: Host) -> None:
    """As a command does that gets little CPU: it looks for its job's end only now and then."""
    job = request(host.socket, "POST", "/v1/domains", {"text": fake("first"), "file": "", "cwd": "/"}).document[
        "id"
    ]
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda number: create(host, number), range(150)))
    answer = request(host.socket, "GET", f"/v1/jobs/{job}?wait_s=5")
    assert (answer.status, answer.document.get("state")) == (200, "done"), answer.document
