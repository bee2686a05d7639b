"""``wirt fork``: what is asked of the server, and what is shown."""

from __future__ import annotations

from .canned import Canned, problem
from .conftest import Run

RESULT = {
    "source": "web",
    "stood_still_s": 0.214,
    "domains": [
        {"name": "web-1", "uuid": "0", "after_s": 0.61},
        {"name": "web-2", "uuid": "1", "after_s": 0.655},
    ],
    "snapshot": "fork-1",
    "cables": "none",
    "lost": [],
}


def job(**changes: object) -> tuple[int, object]:
    fields = {"id": "1", "kind": "fork", "subject": "web", "state": "done", "progress": 1.0, "message": ""}
    return 200, {**fields, "steps": [], "created_at": 0.0, "result": {**RESULT, **changes}}


def test_copies_are_named_and_the_times_told(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/domains/web/fork"] = job()
    shown = wirt("fork", "web", "--count", "2")
    assert shown.out == "web-1\nweb-2\n"
    assert "stood still for 0.21 s" in shown.err
    assert "cables" in shown.err
    assert "fork-1" in shown.err
    sent = wirtd.requests[0].body
    assert sent == {"count": 2, "name": None, "network": "none", "paused": False}


def test_what_was_asked_for_is_sent_and_the_danger_said(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/domains/web/fork"] = job(cables="same", snapshot=None, lost=["forward=tcp:22:22"])
    shown = wirt("fork", "web", "--name", "test", "--network", "same", "-p")
    assert "dropped as forged" in shown.err
    assert "forward=tcp:22:22" in shown.err
    assert "snapshot" not in shown.err
    sent = wirtd.requests[0].body
    assert sent == {"count": 1, "name": "test", "network": "same", "paused": True}


def test_a_refusal_is_shown_as_it_is(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/domains/web/fork"] = problem(409, "domain web is off", hint="wirt start web")
    shown = wirt("fork", "web")
    assert (shown.code, "wirt start web" in shown.err) == (1, True)
