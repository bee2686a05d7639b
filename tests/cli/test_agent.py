"""``wirt agent`` and ``wirt set-time``: what a guest says of itself is shown, and moves no terminal."""

from __future__ import annotations

import json
from typing import Any

from .canned import Canned, problem
from .conftest import Run

Json = dict[str, Any]

ANSWER: Json = {
    "domain": "web",
    "uuid": "73b8b256-ebb1-4d9f-ab2b-9382dba281a2",
    "answers": True,
    "why": "",
    "version": "7.2.22",
    "system": "Debian GNU/Linux 12 (bookworm)",
    "kernel": "6.1.0-49-amd64",
    "commands": ["guest-fsfreeze-freeze", "guest-ping"],
    "interfaces": [
        {"name": "lo", "mac": "", "addresses": ["127.0.0.1/8"]},
        {"name": "eth0\x1b[2J", "mac": "00:16:3e:00:00:01", "addresses": ["192.0.2.7/24", "fe80::1/64"]},
    ],
    "api": "v1",
}
SHOWN = """\
agent     : 7.2.22
system    : Debian GNU/Linux 12 (bookworm)
kernel    : 6.1.0-49-amd64
interface : lo 127.0.0.1/8
interface : eth0\\x1b[2J 00:16:3e:00:00:01 192.0.2.7/24 fe80::1/64
freezes   : yes
"""
NONE: Json = {**ANSWER, "answers": False, "why": "no guest agent runs in web (install it)", "interfaces": []}


def test_an_agent_is_shown(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/domains/web/agent"] = (200, ANSWER)
    assert wirt("agent", "web").out == SHOWN
    assert json.loads(wirt("agent", "web", "-o", "json").out) == ANSWER


def test_a_guest_without_an_agent_is_exit_code_1(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/domains/web/agent"] = (200, NONE)
    result = wirt("agent", "web")
    assert (result.code, result.out) == (1, "")
    assert "no guest agent runs in web (install it)" in result.err
    told = wirt("agent", "web", "-o", "json")
    assert told.code == 1
    assert json.loads(told.out) == NONE


def test_a_clock_is_set(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/domains/web/agent/set-time"] = (200, {"time_s": 1_000_000_000.5, "api": "v1"})
    assert "the clock of web is set to 2001-09-09 01:46:40 UTC" in wirt("set-time", "web").err
    wirtd.routes["POST /v1/domains/web/agent/set-time"] = problem(
        503, "no guest agent runs in web", hint="install"
    )
    result = wirt("set-time", "web")
    assert result.code == 1
    assert "hint: install" in result.err
