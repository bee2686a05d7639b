"""``wirt qos`` and ``wirt qos-class``: what they ask wirtd for, and what they print."""

from __future__ import annotations

from typing import Any

import pytest

from .canned import Canned
from .conftest import Run
from .samples import job

GOLD = {"name": "gold", "words": {"weight": "512", "rate": "8Mb/s"}, "domains": ["web", "db"], "api": "v1"}


@pytest.mark.parametrize(
    ("words", "asked", "body"),
    [
        (
            ("qos-class", "define", "gold", "--weight", "512", "--iops-read-burst", "9", "--rate-in", "8Mb/s"),
            "POST /v1/qos-classes",
            {"name": "gold", "words": {"weight": "512", "iops-read-burst": "9", "rate-in": "8Mb/s"}},
        ),
        (
            ("qos-class", "set", "gold", "--cap", "none", "--memory-guarantee", "64"),
            "POST /v1/qos-classes/gold",
            {"words": {"cap": "none", "memory-guarantee": "64"}},
        ),
        (("qos-class", "set", "gold"), "POST /v1/qos-classes/gold", {"words": {}}),
        (("qos-class", "destroy", "a/b"), "DELETE /v1/qos-classes/a%2Fb", None),
        (("qos-class", "destroy", "gold", "--force"), "DELETE /v1/qos-classes/gold?force=true", None),
        (("qos", "web", "gold"), "POST /v1/domains/web/qos", {"name": "gold"}),
    ],
)
def test_each_asks_for_what_was_said(
    wirtd: Canned, wirt: Run, words: tuple[str, ...], asked: str, body: Any
) -> None:
    wirtd.routes[asked] = (200, job(result={"name": "gold", "changed": ["web"], "failed": []}))
    result = wirt(*words)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert (wirtd.asked(), wirtd.requests[0].body) == ([asked], body)


def test_a_weight_of_disks_is_a_domains(wirtd: Canned, wirt: Run) -> None:
    answer = {"name": "web", "weight": 200, "remarks": ["no disk looks at it"], "api": "v1"}
    wirtd.routes["POST /v1/domains/web/disk-weight"] = (200, answer)
    result = wirt("disk-qos", "web", "--weight", "200")
    assert (result.code, result.out, result.err) == (0, "", "web: no disk looks at it\n")
    assert wirt("disk-qos", "web", "--weight", "none").code == 0
    assert [request.body for request in wirtd.requests] == [{"weight": 200}, {"weight": None}]
    for words in (("xvda", "--weight", "5"), ("--weight", "5", "--none"), ("--weight", "many")):
        assert wirt("disk-qos", "web", *words).code == 2


def test_a_weight_of_cards_is_a_domains(wirtd: Canned, wirt: Run) -> None:
    answer = {"name": "web", "weight": 200, "remarks": [], "api": "v1"}
    wirtd.routes["POST /v1/domains/web/network-weight"] = (200, answer)
    assert wirt("network-rate", "web", "--weight", "200").code == 0
    assert wirtd.requests[0].body == {"weight": 200}
    for words in ((), ("0", "--weight", "5"), ("--weight", "5", "--rate", "none"), ("--weight", "many")):
        assert wirt("network-rate", "web", *words).code == 2


def test_who_could_not_be_changed_is_told(wirtd: Canned, wirt: Run) -> None:
    failed = [{"domain": "web", "why": "the disk said no"}]
    wirtd.routes["POST /v1/qos-classes/gold"] = (
        200,
        job(result={"name": "gold", "changed": ["db"], "failed": failed}),
    )
    result = wirt("qos-class", "set", "gold", "--weight", "1")
    assert result.code == 1
    assert result.err.splitlines() == [
        "domain web could not be changed: the disk said no",
        "wirt qos-class set gold tries again",
    ]


def test_classes_are_listed_and_shown(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/qos-classes"] = (200, {"classes": [GOLD], "api": "v1"})
    wirtd.routes["GET /v1/qos-classes/gold"] = (200, GOLD)
    assert wirt("qos-class", "list").out.splitlines() == [
        "Name  Domains  Says",
        "gold  2        weight=512 rate=8Mb/s",
    ]
    assert wirt("qos-class", "show", "gold").out.splitlines() == [
        "name             : gold",
        "weight           : 512",
        "rate             : 8Mb/s",
        "domains          : web db",
    ]
    wirtd.routes["GET /v1/qos-classes"] = (200, {"classes": [], "api": "v1"})
    assert "define" in wirt("qos-class", "list").err


def test_a_domain_shows_what_it_has_and_from_where(wirtd: Canned, wirt: Run) -> None:
    rows = [
        {"what": "weight", "value": "512", "origin": "class"},
        {"what": "cap", "value": "50", "origin": "own"},
        {"what": "memory-guarantee", "value": "128", "origin": "unasked"},
    ]
    document = {"name": "web", "qos_class": "gold", "rows": rows, "remarks": ["too small"], "api": "v1"}
    wirtd.routes["GET /v1/domains/web/qos"] = (200, document)
    result = wirt("qos", "web")
    assert result.out.splitlines() == [
        "class: gold",
        "What              Value  From",
        "weight            512    class gold",
        "cap               50     its configuration",
        "memory-guarantee  128    -",
    ]
    assert result.err == "web: too small\n"


@pytest.mark.parametrize(
    "words",
    [
        ("list", "gold"),
        ("show",),
        ("define",),
        ("destroy", "gold", "--weight", "1"),
        ("set", "gold", "--force"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(wirt: Run, words: tuple[str, ...]) -> None:
    assert wirt("qos-class", *words).code == 2
