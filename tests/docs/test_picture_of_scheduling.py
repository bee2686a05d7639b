"""The picture of a plan shows what the planner says today."""

from __future__ import annotations

import sys

import pytest
from tools import picture_of_scheduling as tool

from wirt.plan.distribute import distribute


def test_the_picture_is_what_the_planner_says() -> None:
    fresh = tool.PICTURE.read_text() == tool.picture()
    assert fresh, "docs/scheduling.svg is stale: run .venv/bin/python tools/picture_of_scheduling.py"


def test_the_machine_that_is_drawn_gets_better() -> None:
    plan = distribute(tool.crowded())
    assert plan.after.waiting < plan.before.waiting
    assert plan.impossible == ()


def test_a_stale_picture_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(tool, "PICTURE", tmp_path_factory.mktemp("docs") / "scheduling.svg")
    monkeypatch.setattr(sys, "argv", ["picture_of_scheduling.py", "--check"])
    assert tool.main() == 1
    assert "stale" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["picture_of_scheduling.py"])
    assert tool.main() == 0
    assert tool.PICTURE.read_text() == tool.picture()
