"""``wirt vcpu-pin`` and ``vcpu-set``: what they ask wirtd for."""

from __future__ import annotations

from typing import Any

import pytest

from . import samples
from .canned import Canned
from .conftest import Run


@pytest.mark.parametrize(
    ("words", "action", "body"),
    [
        (("vcpu-pin", "web", "0", "2-3"), "pin", {"vcpu": "0", "hard": "2-3", "soft": "-"}),
        (("vcpu-pin", "web", "all", "-", "node:0"), "pin", {"vcpu": "all", "hard": "-", "soft": "node:0"}),
    ],
)
def test_each_verb_asks_for_what_was_said(
    wirtd: Canned, wirt: Run, words: tuple[str, ...], action: str, body: Any
) -> None:
    wirtd.routes[f"POST /v1/domains/web/{action}"] = (200, {})
    assert (wirt(*words).code, wirtd.requests[0].body) == (0, body)


@pytest.mark.parametrize(("present", "says"), [(2, ""), (3, "1 more stay in the run, unused")])
def test_vcpu_set_waits_for_its_job_and_tells_what_stays(
    wirtd: Canned, wirt: Run, present: int, says: str
) -> None:
    made = samples.job("done", kind="vcpu-set", result={"name": "web", "vcpus": 2, "present": present})
    wirtd.routes["POST /v1/domains/web/vcpus"] = (202, made)
    done = wirt("vcpu-set", "web", "2")
    assert (done.code, done.out, wirtd.requests[0].body) == (0, "", {"vcpus": 2})
    assert (says in done.err) if says else done.err == ""
