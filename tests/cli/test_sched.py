"""``wirt sched-credit`` and its like: what they ask wirtd for, and what they print."""

from __future__ import annotations

from typing import Any

import pytest

from .canned import Canned
from .conftest import Run

WEB = {
    "name": "web",
    "uuid": "u",
    "domid": 3,
    "vcpus": 2,
    "weight": 512,
    "cap": 50,
    "period_us": 10000,
    "budget_us": 2500,
    "extratime": False,
    "mechanism": "cgroup v1",
    "remarks": ["a quota sets no deadline"],
    "api": "v1",
}
LIST = {"domains": [WEB], "mechanism": "cgroup v1", "reason": "", "api": "v1"}


@pytest.mark.parametrize(
    ("words", "action", "body"),
    [
        (("sched-credit", "-d", "web", "-w", "512"), "credit", {"weight": 512, "cap": None}),
        (("sched-credit2", "-d", "web", "-c", "0"), "credit", {"weight": None, "cap": 0}),
        (
            ("sched-rtds", "-d", "web", "-v", "all", "-p", "20000", "-b", "100"),
            "real-time",
            {"period_us": 20000, "budget_us": 100, "extratime": None},
        ),
    ],
)
def test_each_verb_asks_for_what_was_said(
    wirtd: Canned, wirt: Run, words: tuple[str, ...], action: str, body: Any
) -> None:
    wirtd.routes[f"POST /v1/domains/web/{action}"] = (200, WEB)
    done = wirt(*words)
    assert (done.code, done.out) == (0, "")
    assert done.err == "web: a quota sets no deadline\n"
    assert wirtd.requests[0].body == body


def test_lists_have_the_columns_of_xl(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/scheduling"] = (200, LIST)
    assert wirt("sched-credit").out.splitlines() == [
        "Name                                ID Weight  Cap",
        "web                                  3    512   50",
    ]
    assert wirt("sched-rtds").out.splitlines()[1].split() == ["web", "3", "10000", "2500", "no"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sched-credit", "-w", "512"), "whose"),
        (("sched-credit", "-d", "web", "-w", "many"), "invalid int"),
        (("sched-rtds", "-d", "web", "-v", "1", "-b", "100"), "all vCPUs"),
    ],
)
def test_what_is_not_understood_is_told(wirt: Run, words: tuple[str, ...], said: str) -> None:
    done = wirt(*words)
    assert done.code == 2 and said in done.err
