"""``wirt cpu``: what it asks wirtd for, and what it prints."""

from __future__ import annotations

import json

from .canned import Canned
from .conftest import Run

HERE = {
    "host": "a",
    "accelerator": "tcg",
    "hypervisor_version": [10, 0, 2],
    "vendor": "AuthenticAMD",
    "identity": "AuthenticAMD family 15 model 107",
    "default": "max",
    "features": ["aes", "fpu"],
    "models": [
        {"name": "Haswell", "features": [], "missing": ["hle", "rtm", "c", "d", "e", "f", "g"]},
        {"name": "qemu64", "features": ["fpu"], "missing": []},
    ],
}
FOUND = {
    "cpu_model": "x86-64-v2,+aes",
    "base": "x86-64-v2",
    "accelerator": "tcg",
    "features": ["aes", "fpu"],
    "hosts": ["a", "b"],
    "held_back": [{"host": "b", "features": ["avx"]}],
    "not_asked": [],
    "remarks": ["something"],
}


def test_list_shows_models_and_what_is_missing(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/cpu"] = (200, HERE)
    shown = wirt("cpu", "list")
    assert shown.out.splitlines() == [
        "Model    Features  Lacks",
        "Haswell  -         hle rtm c d e f and 1 more",
        "qemu64   1",
    ]
    assert "gets max" in shown.err and "aes fpu" in shown.err
    assert json.loads(wirt("-o", "json", "cpu", "list").out) == HERE


def test_a_baseline_is_a_line_for_a_configuration(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/cpu/baseline"] = (200, FOUND)
    shown = wirt("cpu", "baseline", "b")
    assert (shown.code, shown.out) == (0, 'cpu_model = "x86-64-v2,+aes"\n')
    assert "b holds back: avx" in shown.err and "something" in shown.err
    assert wirtd.requests[0].body == {"hosts": ["b"]}
    assert json.loads(wirt("-o", "json", "cpu", "baseline").out) == FOUND


def test_a_host_that_was_not_asked_is_named_and_the_exit_code_says_so(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/cpu/baseline"] = (200, {**FOUND, "not_asked": [{"host": "c", "reason": "it is off"}]})
    shown = wirt("cpu", "baseline")
    assert (shown.code, "c was not asked, and may lack some: it is off" in shown.err) == (1, True)


def test_list_takes_no_host(wirt: Run) -> None:
    assert wirt("cpu", "list", "b").code == 2
