"""Verbs that do something: to whom, how often, and what is said about it."""

from __future__ import annotations

import json

import pytest

from . import samples
from .canned import HANG_UP, Answer, Canned, Request, problem
from .conftest import Run

DONE: Answer = (204, None)


@pytest.mark.parametrize("verb", ["pause", "unpause", "shutdown", "reboot"])
def test_it_is_done_to_each_domain_that_is_named(wirtd: Canned, wirt: Run, verb: str) -> None:
    wirtd.routes |= {f"POST /v1/domains/a%2Fb/{verb}": DONE, f"POST /v1/domains/7/{verb}": DONE}
    result = wirt(verb, "a/b", "7")
    assert (result.code, result.out) == (0, "")
    assert wirtd.asked() == [f"POST /v1/domains/a%2Fb/{verb}", f"POST /v1/domains/7/{verb}"]


def test_a_failure_for_one_does_not_spare_the_others(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes |= {
        "POST /v1/domains/a/pause": problem(409, "domain a is off", code="illegal-state"),
        "POST /v1/domains/b/pause": DONE,
    }
    result = wirt("pause", "a", "b", "-o", "json")
    assert result.code == 1
    assert result.err == "wirt: domain a is off\n"
    first, second = json.loads(result.out)["domains"]
    assert (first["done"], first["error"]["code"]) == (False, "illegal-state")
    assert second == {"domain": "b", "done": True}


def test_shutdown_all_leaves_domain_0_alone(wirtd: Canned, wirt: Run) -> None:
    domains = [samples.domain_0(), samples.domain("a", 1), samples.domain("b", 2)]
    wirtd.routes |= {
        "GET /v1/domains": (200, samples.domain_list(*domains)),
        "POST /v1/domains/a/shutdown": DONE,
        "POST /v1/domains/b/shutdown": DONE,
    }
    assert wirt("shutdown", "-a").code == 0
    assert wirtd.asked()[1:] == ["POST /v1/domains/a/shutdown", "POST /v1/domains/b/shutdown"]


def test_shutdown_wait_asks_all_before_it_waits_for_any(wirtd: Canned, wirt: Run) -> None:
    off = samples.domain("a", None)
    for name in "ab":
        wirtd.routes[f"POST /v1/domains/{name}/shutdown"] = DONE
    wirtd.routes["GET /v1/domains/a/wait"] = (200, off)
    wirtd.routes["GET /v1/domains/b/wait"] = problem(404, "there is no domain b")  # It was not to be kept.
    assert wirt("shutdown", "-w", "a", "b").code == 0
    assert [asked.split("?")[0] for asked in wirtd.asked()] == [
        "POST /v1/domains/a/shutdown",
        "POST /v1/domains/b/shutdown",
        "GET /v1/domains/a/wait",
        "GET /v1/domains/b/wait",
    ]


def test_shutdown_wait_is_content_with_a_domain_that_is_kept_for_looking_at(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes |= {
        "POST /v1/domains/a/shutdown": DONE,
        "GET /v1/domains/a/wait": (200, samples.domain("a", 1, "---s--", state="shutdown")),
    }
    assert wirt("shutdown", "-w", "a").code == 0
    assert "until=ended" in wirtd.requests[1].target


def test_shutdown_wait_gives_up_at_its_timeout(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes |= {
        "POST /v1/domains/a/shutdown": DONE,
        "GET /v1/domains/a/wait": problem(504, "not yet"),
    }
    result = wirt("shutdown", "-w", "--timeout", "0.05", "a")
    assert result.code == 1
    assert "domain a is still running, and the time is over" in result.err


def test_shutdown_wait_says_once_what_a_guest_that_does_nothing_may_need(wirtd: Canned, wirt: Run) -> None:
    answers = iter([problem(504, "not yet"), problem(504, "not yet"), (200, samples.domain("a", None))])
    wirtd.routes |= {
        "POST /v1/domains/a/shutdown": DONE,
        "GET /v1/domains/a/wait": lambda _: next(answers),
    }
    result = wirt("shutdown", "-w", "a")
    assert result.code == 0
    assert result.err.count("a still runs: a guest that was not up yet has not heard it") == 1


def test_reboot_wait_returns_when_the_domain_runs_anew(wirtd: Canned, wirt: Run) -> None:
    domids = iter([4, 4, 4, 5])

    def ask(_: Request) -> Answer:
        return 200, samples.detail(samples.domain("a", next(domids)))

    wirtd.routes |= {"POST /v1/domains/a/reboot": DONE, "GET /v1/domains/a": ask}
    assert wirt("reboot", "-w", "--timeout", "10", "a").code == 0
    assert next(domids, None) is None


def test_wait_asks_again_until_it_is_so(wirtd: Canned, wirt: Run) -> None:
    answers = iter([problem(504, "not yet"), problem(504, "not yet"), (200, samples.domain("a", None))])
    wirtd.routes["GET /v1/domains/a/wait"] = lambda _: next(answers)
    result = wirt("wait", "a", "--timeout", "10", "-o", "json")
    assert result.code == 0
    assert json.loads(result.out)["name"] == "a"
    assert len(wirtd.requests) == 3
    assert wirtd.requests[0].target.startswith("/v1/domains/a/wait?until=off&timeout_s=")


def test_destroy_waits_for_its_job(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes |= {
        "POST /v1/domains/a/destroy": (202, samples.job("running", kind="destroy")),
        "GET /v1/jobs/j1?wait_s=5&progress=0.25": (200, samples.job("done", kind="destroy")),
    }
    result = wirt("destroy", "a")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert len(wirtd.requests) == 2


def test_start_sends_whether_it_shall_be_paused(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/domains/web/start"] = (202, samples.job("done", kind="start"))
    assert wirt("start", "-p", "web").out == "web is paused as domain 3\n"
    assert wirt("start", "web").out == "web is running as domain 3\n"
    assert [request.body for request in wirtd.requests] == [{"paused": True}, {"paused": False}]


def test_rename_and_undefine_say_nothing_when_all_is_well(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes |= {"POST /v1/domains/a/rename": DONE, "DELETE /v1/domains/b": DONE}
    assert wirt("rename", "a", "b").out == wirt("undefine", "b").out == ""
    assert wirtd.requests[0].body == {"name": "b"}
    assert json.loads(wirt("undefine", "b", "-o", "json").out)["undefined"] is True


def test_an_empty_name_never_becomes_the_list_of_all(wirtd: Canned, wirt: Run) -> None:
    for words in (["destroy", ""], ["undefine", ""], ["domid", ""]):
        assert wirt(*words).code == 1
    assert wirtd.requests == []


def test_jobs_cancel_waits_until_it_is_undone(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes |= {
        "POST /v1/jobs/j1/cancel": (200, samples.job("undoing")),
        "GET /v1/jobs/j1": (200, samples.job("cancelled")),
    }
    assert wirt("jobs", "--cancel", "j1").code == 0
    assert wirtd.asked() == ["POST /v1/jobs/j1/cancel", "GET /v1/jobs/j1?wait_s=5&progress=0.25"]
    wirtd.routes["GET /v1/jobs/j1"] = (200, samples.job("done"))
    assert "job j1 is done, not cancelled" in wirt("jobs", "--cancel", "j1").err


def test_image_build_prints_what_it_built(wirtd: Canned, wirt: Run) -> None:
    made = {"kernel": "/i/vmlinuz", "initramfs": "/i/initrd", "disk": "/i/disk"}
    wirtd.routes["POST /v1/images/tiny"] = (202, samples.job("done", kind="build", result=made))
    wirtd.routes["GET /v1/images"] = (200, {"images": [{"name": "tiny", **made}]})
    assert wirt("image", "build", "tiny").out == "kernel: /i/vmlinuz\ninitramfs: /i/initrd\ndisk: /i/disk\n"
    assert wirt("image", "list").out.splitlines()[1].split() == ["tiny", "/i/vmlinuz", "/i/initrd", "/i/disk"]


def test_a_daemon_that_is_restarted_while_we_wait_is_asked_again(wirtd: Canned, wirt: Run) -> None:
    answers = iter([HANG_UP, HANG_UP, (200, samples.job("done", kind="destroy"))])
    wirtd.routes |= {
        "POST /v1/domains/a/destroy": (202, samples.job("running", kind="destroy")),
        "GET /v1/jobs/j1": lambda _: next(answers),
    }
    assert wirt("destroy", "a").code == 0


def test_what_acts_is_never_sent_twice(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/domains/a/destroy"] = HANG_UP
    result = wirt("destroy", "a")
    assert (result.code, len(wirtd.requests)) == (1, 1)
    assert "closed the connection" in result.err
