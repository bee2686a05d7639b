"""``wirt migrate``: what it asks wirtd for, and what it prints when several move."""

from __future__ import annotations

import json

import pytest

from .canned import Answer, Canned, Request, problem
from .conftest import Run
from .samples import domain, domain_0, domain_list

RECEIPT = {
    "handover": "h",
    "uuid": "u",
    "domain": "web",
    "source": "a",
    "target": "b",
    "began_at": 0.0,
    "total_s": 3.0,
    "outcome": "runs",
    "way": "precopy",
    "sent_bytes": 1 << 20,
    "rounds": 2,
    "blackout_s": 0.1,
}


def job(name: str, state: str = "done", **more: object) -> Answer:
    fields = {
        "id": f"j-{name}",
        "kind": "migrate",
        "subject": name,
        "state": state,
        "progress": 1.0,
        "message": "",
    }
    return 200, {**fields, "steps": [], "created_at": 0.0, "result": {**RECEIPT, "domain": name}, **more}


def several(wirtd: Canned, *names: str) -> None:
    """Each of them is under way when it is begun, and over when it is asked for."""
    for name in names:
        wirtd.routes[f"POST /v1/domains/{name}/migrate"] = job(name, "running", progress=0.0)
        wirtd.routes[f"GET /v1/jobs/j-{name}"] = job(name)


def sent(wirtd: Canned, name: str) -> dict[str, object]:
    (found,) = [each for each in wirtd.requests if each.target == f"/v1/domains/{name}/migrate"]
    assert isinstance(found.body, dict)
    return found.body


def test_one_that_is_off_moves_if_that_was_said(wirtd: Canned, wirt: Run) -> None:
    off = {**RECEIPT, "way": "offline", "outcome": "off"}
    wirtd.routes["POST /v1/domains/web/migrate"] = job("web", result=off)
    shown = wirt("migrate", "--offline", "--timeout", "30", "web", "b")
    assert (shown.code, shown.out) == (0, "web is on b, and is off\n")
    body = sent(wirtd, "web")
    assert (body["offline"], body["timeout_s"], "batch" in body) == (True, 30.0, False)


def test_several_are_begun_together_and_a_line_at_the_end_is_about_all(wirtd: Canned, wirt: Run) -> None:
    several(wirtd, "web", "db")
    shown = wirt("migrate", "web", "db", "b", "--at-once", "1", "--bandwidth", "50M")
    assert shown.code == 0
    assert [line.split(":")[0] for line in shown.out.splitlines()] == ["web is on b", "db is on b"]
    assert shown.err == "2 moved\n"
    web, db = sent(wirtd, "web"), sent(wirtd, "db")
    assert web == db and web["batch"]
    assert (web["of"], web["at_once"], web["bandwidth"]) == (2, 1, "50M")


def test_one_that_is_refused_keeps_no_other_from_moving_and_the_exit_code_tells(wirtd: Canned, wirt: Run) -> None:
    several(wirtd, "web", "mail")
    wirtd.routes["POST /v1/domains/db/migrate"] = problem(409, "db has snapshots", hint="remove them")
    wirtd.routes["GET /v1/jobs/j-mail"] = job("mail", "failed", error={"code": "x", "message": "it broke"})
    shown = wirt("migrate", "web", "db", "mail", "b")
    assert shown.code == 1
    assert shown.out.startswith("web is on b")
    assert "db has snapshots" in shown.err and "mail: it broke" in shown.err
    assert shown.err.splitlines()[-1] == "1 moved, 2 not: db, mail"
    document = json.loads(wirt("-o", "json", "migrate", "web", "db", "mail", "b").out)
    assert [each["domain"] for each in document["failed"]] == ["db", "mail"]
    assert [each["subject"] for each in document["migrations"]] == ["web", "mail"]


def test_all_means_those_that_run(wirtd: Canned, wirt: Run) -> None:
    several(wirtd, "web", "db")
    wirtd.routes["GET /v1/domains"] = (
        200,
        domain_list(domain_0(), domain("web", 1, "r-----"), domain("db", 2, "-b----")),
    )
    assert wirt("migrate", "--all", "b").err == "2 moved\n"


def test_all_of_none_is_told(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/domains"] = (200, domain_list(domain_0()))
    shown = wirt("migrate", "--all", "b")
    assert (shown.code, shown.err) == (0, "No domain is here that could move.\n")


def test_ctrl_c_takes_back_all_that_is_not_over(wirtd: Canned, wirt: Run) -> None:
    several(wirtd, "web", "db")
    asked = 0

    def interrupted(request: Request) -> Answer:
        nonlocal asked
        asked += 1
        if asked == 1:
            import signal

            signal.raise_signal(signal.SIGINT)
            return job("db", "running")
        return job("db", "cancelled", error={"code": "job-cancelled", "message": "it was cancelled, and undone"})

    wirtd.routes["GET /v1/jobs/j-db"] = interrupted
    wirtd.routes["POST /v1/jobs/j-db/cancel"] = job("db", "undoing")
    wirtd.routes["POST /v1/jobs/j-web/cancel"] = job("web")
    shown = wirt("migrate", "web", "db", "b")
    assert shown.code == 130
    assert any(each.target == "/v1/jobs/j-db/cancel" for each in wirtd.requests)
    assert "1 moved, 1 not: db" in shown.err


@pytest.mark.parametrize("words", [("--all", "web", "b"), ("web",), ("web", "db", "b", "--at-once", "0")])
def test_a_command_that_makes_no_sense_is_refused(wirt: Run, words: tuple[str, ...]) -> None:
    assert wirt("migrate", *words).code == 2
