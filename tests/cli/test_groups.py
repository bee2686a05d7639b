"""``wirt security-group``: what it asks wirtd for, and what it prints."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .canned import Canned, problem
from .conftest import Run

WEB = {
    "name": "web",
    "rules": ["in:tcp:80,443", "in:tcp:22:from=10.0.0.0/8"],
    "description": "the shop",
    "domains": ["shop1", "shop2"],
    "groups": ["db"],
    "api": "v1",
}
INFO = """\
name        : web
description : the shop
rule 1      : in:tcp:80,443
rule 2      : in:tcp:22:from=10.0.0.0/8
domains     : shop1 shop2
groups      : db
"""


@pytest.mark.parametrize(
    ("words", "request_", "body"),
    [
        (("create", "web"), "POST /v1/security-groups", {"name": "web", "rules": [], "description": ""}),
        (
            ("create", "web", "--allow", "in:icmp", "in:tcp:22", "--description", "x y"),
            "POST /v1/security-groups",
            {"name": "web", "rules": ["in:icmp", "in:tcp:22"], "description": "x y"},
        ),
        (
            ("create", "web", "--allow", "in:icmp", "--allow", "out:any"),
            "POST /v1/security-groups",
            {"name": "web", "rules": ["in:icmp", "out:any"], "description": ""},
        ),
        (("set", "web", "--allow"), "POST /v1/security-groups/web", {"rules": [], "description": None}),
        (("set", "web", "--description", ""), "POST /v1/security-groups/web", {"rules": None, "description": ""}),
        (
            ("allow", "web", "in:icmp", "in:any"),
            "POST /v1/security-groups/web/allow",
            {"rules": ["in:icmp", "in:any"]},
        ),
        (("revoke", "web", "2"), "POST /v1/security-groups/web/revoke", {"rule": "2"}),
        (("destroy", "web"), "DELETE /v1/security-groups/web", None),
        (("destroy", "a/b"), "DELETE /v1/security-groups/a%2Fb", None),
    ],
)
def test_each_action_asks_for_what_was_said_and_prints_nothing(
    wirtd: Canned, wirt: Run, words: tuple[str, ...], request_: str, body: Any
) -> None:
    wirtd.routes[request_] = (204, None) if words[0] == "destroy" else (200, WEB)
    result = wirt("security-group", *words)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert wirtd.asked() == [request_]
    assert wirtd.requests[0].body == body


def test_info_numbers_the_rules_and_tells_who_names_it(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/security-groups/web"] = (200, WEB)
    assert wirt("security-group", "info", "web").out == INFO
    assert json.loads(wirt("-o", "json", "security-group", "info", "web").out) == WEB


def test_a_group_without_rules_says_what_that_means(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/security-groups/web"] = (200, {**WEB, "rules": []})
    assert "nothing comes in, everything goes out" in wirt("security-group", "info", "web").out


def test_list_counts_rules_and_domains(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/security-groups"] = (200, {"groups": [WEB], "api": "v1"})
    assert wirt("security-group", "list").out == (
        "Name  Rules  Domains  Description\nweb   2      2        the shop\n"
    )
    wirtd.routes["GET /v1/security-groups"] = (200, {"groups": [], "api": "v1"})
    result = wirt("security-group", "list")
    assert (result.code, result.out) == (0, "")
    assert "wirt security-group create" in result.err


def test_with_json_every_action_prints_one_document(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/security-groups"] = (200, WEB)
    wirtd.routes["DELETE /v1/security-groups/web"] = (204, None)
    assert json.loads(wirt("-o", "json", "security-group", "create", "web").out) == WEB
    gone = json.loads(wirt("-o", "json", "security-group", "destroy", "web").out)
    assert gone == {"api": "v1", "name": "web", "destroyed": True}


def test_what_wirtd_refuses_is_told_with_its_hint(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/security-groups"] = problem(
        422, "the rule 'in', column 3: expected :", hint="a rule is ..."
    )
    result = wirt("security-group", "create", "web", "--allow", "in")
    assert result.code == 1
    assert result.err == "wirt: the rule 'in', column 3: expected :\n  hint: a rule is ...\n"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("frobnicate", "web"),
        ("create",),
        ("list", "web"),
        ("info", "web", "in:icmp"),
        ("create", "web", "in:icmp"),
        ("set", "web"),
        ("allow", "web"),
        ("allow", "web", "--allow", "in:icmp"),
        ("revoke", "web"),
        ("revoke", "web", "1", "2"),
        ("destroy", "web", "--description", "x"),
    ],
)
def test_a_wrong_command_line_is_refused_before_anyone_is_asked(
    wirtd: Canned, wirt: Run, words: tuple[str, ...]
) -> None:
    result = wirt("security-group", *words)
    assert result.code == 2
    assert wirtd.asked() == []


def test_an_empty_name_is_refused_and_does_not_mean_all(wirtd: Canned, wirt: Run) -> None:
    assert wirt("security-group", "destroy", "").code == 1
    assert wirtd.asked() == []
