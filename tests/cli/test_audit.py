"""``wirt audit``: its tables, its exit code, and names that were chosen to deceive whoever reads them."""

from __future__ import annotations

import json
from typing import Any

from .canned import Canned, problem
from .conftest import Run

Json = dict[str, Any]


def finding(what: str, found: str, expected: str, verdict: str = "ok", why: str = "") -> Json:
    return {"what": what, "found": found, "expected": expected, "verdict": verdict, "why": why, "details": []}


def answer(verdict: str, *findings: Json, name: str = "web") -> Json:
    domain = {
        "name": name,
        "uuid": "73b8b256-ebb1-4d9f-ab2b-9382dba281a2",
        "domid": 3,
        "pid": 42,
        "jailed": True,
        "verdict": verdict,
        "sentence": "wider than it should be" if verdict == "wider" else "as it should be",
        "findings": list(findings),
    }
    home = [finding("open to other users", "none", "nothing but images and cache")]
    return {"verdict": verdict, "summary": "1 domain", "domains": [domain], "home": home, "api": "v1"}


CLEAN = answer("ok", finding("uid", "1900000003", "1900000003"))
WIDE = answer(
    "wider",
    finding("uid", "1900000003", "1900000003"),
    finding("taps", "vif3.0, vif4.0", "vif3.0", "wider"),
    finding("limits", "not seen", "those of a jail", "unknown", "Permission denied"),
    finding("vif 0 rules", "x" * 80, "no spoofing", "weaker", "as was said"),
)
TABLE = f"""\
web (domain 3, process 42): wider than it should be
what         is                                                          should be        ok
uid          1900000003                                                  1900000003       yes
taps         vif3.0, vif4.0                                              vif3.0           NO
limits       not seen                                                    those of a jail  not seen
vif 0 rules  {"x" * 55}...  no spoofing      weaker
  limits: Permission denied
  vif 0 rules: {"x" * 80}
  vif 0 rules: as was said

the files of wirt's home
what                 is    should be                     ok
open to other users  none  nothing but images and cache  yes

1 domain
"""


def test_a_clean_host_is_exit_code_0(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/audit"] = (200, CLEAN)
    result = wirt("audit")
    assert result.code == 0
    assert result.out.startswith("web (domain 3, process 42): as it should be\n")


def test_what_is_wider_is_marked_explained_and_exit_code_1(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/audit"] = (200, WIDE)
    result = wirt("audit")
    assert (result.code, result.out, result.err) == (1, TABLE, "")


def test_quiet_leaves_out_what_is_as_it_should_be(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/audit"] = (200, WIDE)
    lines = wirt("audit", "-q").out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["taps", "limits", "vif"]
    assert not any(line.startswith("uid") for line in lines)
    wirtd.routes["GET /v1/audit"] = (200, CLEAN)
    assert wirt("audit", "-q").out == "1 domain\n"


def test_json_is_what_wirtd_said_and_the_exit_code_is_the_same(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/audit"] = (200, {**WIDE, "new": 1})
    result = wirt("-o", "json", "audit")
    assert (result.code, json.loads(result.out)) == (1, {**WIDE, "new": 1})


def test_domains_are_named_in_the_query(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/audit"] = (200, CLEAN)
    wirt("audit", "web", "a&b=c")
    assert wirtd.asked() == ["GET /v1/audit?domain=web&domain=a%26b%3Dc"]


def test_a_domain_that_is_not_there_is_told(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/audit"] = problem(404, "there is no domain web", hint="wirt list")
    result = wirt("audit", "web")
    assert (result.code, result.err) == (1, "wirt: there is no domain web\n  hint: wirt list\n")


def test_no_name_can_steer_the_terminal_or_pass_for_a_line_of_its_own(wirtd: Canned, wirt: Run) -> None:
    evil = "/disks/\x1b[2J\nuid  0  0  yes"
    bad = answer("wider", finding("open files", evil, "its own", "wider", evil), name="\x1b]0;web\x07")
    wirtd.routes["GET /v1/audit"] = (200, bad)
    out = wirt("audit").out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert not any(line.startswith("uid") for line in out.splitlines())


def test_an_answer_that_is_none_is_an_error_and_no_clean_audit(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/audit"] = (200, {"verdict": "ok"})
    assert wirt("audit").code == 1
