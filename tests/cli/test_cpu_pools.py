"""``wirt cpupool-*``: what they ask wirtd for, and what they print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .canned import Canned
from .conftest import Run

POOLS = {
    "pools": [
        {"name": "Pool-0", "cpus": "0-1", "count": 2, "running": 1, "domains": ["web"]},
        {"name": "fast", "cpus": "2-3", "count": 2, "running": 0, "domains": []},
    ],
    "api": "v1",
}


@pytest.mark.parametrize(
    ("words", "asked", "body"),
    [
        (
            ("cpupool-create", "name=fast", "cpus=2-3"),
            "POST /v1/cpu-pools",
            {"text": "", "overrides": ["name=fast", "cpus=2-3"]},
        ),
        (("cpupool-destroy", "a/b"), "DELETE /v1/cpu-pools/a%2Fb", None),
        (("cpupool-cpu-add", "fast", "1"), "POST /v1/cpu-pools/fast/add", {"cpus": "1"}),
        (("cpupool-cpu-remove", "fast", "1"), "POST /v1/cpu-pools/fast/remove", {"cpus": "1"}),
        (("cpupool-migrate", "web", "fast"), "POST /v1/domains/web/cpu-pool", {"pool": "fast"}),
    ],
)
def test_each_verb_asks_for_what_was_said(
    wirtd: Canned, wirt: Run, words: tuple[str, ...], asked: str, body: Any
) -> None:
    wirtd.routes[asked] = (204, None)
    result = wirt(*words)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert (wirtd.asked(), wirtd.requests[0].body) == ([asked], body)


def test_a_pool_is_read_from_a_file(wirtd: Canned, wirt: Run, tmp_path: Path) -> None:
    (tmp_path / "fast.cfg").write_text('name = "fast"\n')
    wirtd.routes["POST /v1/cpu-pools"] = (204, None)
    assert wirt("cpupool-create", str(tmp_path / "fast.cfg"), "cpus=1").code == 0
    assert wirtd.requests[0].body == {"text": 'name = "fast"\n', "overrides": ["cpus=1"]}


def test_the_list_has_xls_columns(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/cpu-pools"] = (200, POOLS)
    assert wirt("cpupool-list").out.splitlines() == [
        "Name               CPUs   Sched     Active   Domain count",
        "Pool-0               2    credit       y          1",
        "fast                 2    credit       y          0",
    ]
    assert wirt("cpupool-list", "-c", "fast").out.splitlines()[1].split() == ["fast", "2-3"]
    assert wirt("cpupool-list", "slow").code == 1
