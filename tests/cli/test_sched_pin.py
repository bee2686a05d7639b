"""``wirt vcpu-pin`` and ``vcpu-set``: what they ask wirtd for."""

from __future__ import annotations

from typing import Any

import pytest

from .canned import Canned
from .conftest import Run


@pytest.mark.parametrize(
    ("words", "action", "body"),
    [
        (("vcpu-pin", "web", "0", "2-3"), "pin", {"vcpu": "0", "hard": "2-3", "soft": "-"}),
        (("vcpu-pin", "web", "all", "-", "node:0"), "pin", {"vcpu": "all", "hard": "-", "soft": "node:0"}),
        (("vcpu-set", "web", "2"), "vcpus", {"vcpus": 2}),
    ],
)
def test_each_verb_asks_for_what_was_said(
    wirtd: Canned, wirt: Run, words: tuple[str, ...], action: str, body: Any
) -> None:
    wirtd.routes[f"POST /v1/domains/web/{action}"] = (200, {})
    assert (wirt(*words).code, wirtd.requests[0].body) == (0, body)
