"""The figures are declared well, and the command line finds them."""

from __future__ import annotations

import pytest
from bench.cli import main
from bench.figures import FIGURES


def test_each_figure_has_a_name_of_its_own_that_can_be_a_file() -> None:
    names = [figure.name for figure in FIGURES]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalnum() and name == name.lower() for name in names)


def test_each_figure_keeps_a_promise_and_quick_is_quicker() -> None:
    for figure in FIGURES:
        assert figure.promises, figure.name
        assert 0 < figure.quick_runs < figure.runs, figure.name


def test_list_shows_every_promise(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    shown = capsys.readouterr().out
    for figure in FIGURES:
        assert f"{figure.name}: " in shown
        assert all(promise.words in shown for promise in figure.promises)


def test_a_figure_that_is_not_there_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["list-tine"])
    assert end.value.code == 2
    assert "list-time" in capsys.readouterr().err


@pytest.mark.parametrize("runs", ["0", "-1", "many"])
def test_runs_are_a_positive_number(runs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--runs", runs])
    assert end.value.code == 2
